"""How an image is to be segmented, with the table of all parameters; the plan of its work, and the answer of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from common.arrays import Size
from imaging.decoding import OpenImage
from imaging.parameters import Parameter, parameters_of, read_values
from imaging.rendering import RENDERING, Rendering
from model.inference.scaling import SIDES, Side, parse_side
from model.inference.small_regions import AREA_PATTERN, AREA_WORDS, Area, parse_area
from model.inference.tiling import Blend, TilePlan
from model.inference.views import Quality, View

if TYPE_CHECKING:
    from imaging.georeferenced.whole import OpenScene  # needs the extra `geo`


@dataclass(frozen=True)
class Options:
    """How an image is segmented and answered.

    tile: (height, width), multiples of 32; None for the tile that the weights advise; `WHOLE` if they take whole photos.
    mean_confidence: whether `Output` has it even if the answer's form does not need it; the answer stays the same.
    """

    # fmt: off
    tile: Size | None = None
    overlap: Annotated[float, Parameter(
        help="fraction of a tile shared with its neighbour", option="share of a tile that its neighbour has too",
        group="how the network sees the image", metavar="SHARE", least=0, most=0.5, by_service=True,
    )] = 0.25
    blend: Annotated[Blend, Parameter(
        help="how overlapping logits are averaged (default: the server's)", option="how overlapping logits are averaged",
        group="how the network sees the image", by_service=True,
    )] = "mean"
    side: Annotated[Side, Parameter(
        help="size to work at: `native`, the longer side in pixels, or `auto` (the range that the weights advise)",
        option=f"auto, native, or the longer side to work at, {SIDES[0]} to {SIDES[1]}",
        group="how the network sees the image", least=SIDES[0], most=SIDES[1], parse=parse_side,
    )] = "auto"
    quality: Annotated[Quality, Parameter(
        help="`high`: averages three sizes and their mirror images; about eight times the work",
        option="high: average of several sizes and mirror images", group="how the network sees the image",
    )] = "standard"
    rendering: Rendering = field(default_factory=Rendering)
    mean_confidence: bool = False
    min_area: Annotated[Area, Parameter(
        help="regions smaller than this take the class of a neighbour that fits best",
        option="smaller regions take a neighbour's class: pixels, or a share such as 0.1%", group="regions", metavar="AREA",
        values=AREA_WORDS, pattern=AREA_PATTERN, examples=("200", "0.1%"), parse=parse_area,
    )] = field(default_factory=Area)
    fill_holes: Annotated[Area, Parameter(
        help="holes smaller than this take the class around them",
        option="smaller holes take the class around them: pixels, or a share such as 0.1%", group="regions", metavar="AREA",
        values=AREA_WORDS, pattern=AREA_PATTERN, examples=("200", "0.1%"), parse=parse_area,
    )] = field(default_factory=Area)
    # fmt: on

    @classmethod
    def of(cls, values: Mapping[str, Any], *, tile: Size | None, name: str = Rendering.name) -> Options:
        """What the parameters' values ask for, by their names; texts are read. tile: as of the class. name: of `Rendering`.

        Raises `ValueError`, and `WrongParameter` for one that the form of answer does not use.
        """
        form = read_values(RENDERING, values)
        rendering = Rendering(name=name, **form)
        rendering.check_uses(RENDERING[name] for name in form)
        return cls(tile=tile, rendering=rendering, **read_values(OPTIONS, values))

    def check(self) -> None:
        """Raises `ValueError` for a value that a request may not have. The plan of a small scene may have a smaller side."""
        for each in OPTIONS.values():
            each.check(getattr(self, each.name))

    @property
    def replaces_regions(self) -> bool:
        return bool(self.min_area.amount or self.fill_holes.amount)

    @property
    def needs_confidence(self) -> bool:
        return self.mean_confidence or self.rendering.needs_confidence


OPTIONS = parameters_of(Options)
"""Those that say how the network sees the image, and which regions change, by name."""
MODEL = Parameter(
    name="model", type=str | None, help="a model of `/models` (default: the first)", group="on a running service",
    option="name of one of the service's models", unset="its first", metavar="NAME", values="a name",
)  # fmt: skip
PARAMETERS = RENDERING | OPTIONS | {MODEL.name: MODEL}
"""All of them, by name."""


@dataclass(frozen=True)
class Plan:
    """The work for one image.

    size: upright (height, width) of the image. views: the sizes and mirror images to run, largest first.
    image: the file, opened for this plan and not yet decoded; None if there is none.
    """

    size: Size
    views: tuple[View, ...]
    options: Options
    image: OpenImage | OpenScene | None = field(default=None, compare=False, repr=False)

    @property
    def answer_size(self) -> Size:
        """(height, width) of the answer, which has fewer pixels than the image if its rendering says so."""
        return self.options.rendering.answer_size(self.size)

    @property
    def tile_plan(self) -> TilePlan:
        """The tiles of the first view. The image is decoded at its size; the answer is made from its cells."""
        return self.views[0].tile_plan

    @property
    def tile_count(self) -> int:
        """The number of tiles of all views."""
        return sum(len(view.tile_plan) for view in self.views)

    def describe(self) -> dict[str, Any]:
        """The plan as it appears in JSON answers."""
        return self.tile_plan.describe() | {"quality": self.options.quality, "tiles": self.tile_count}

    @property
    def megapixels(self) -> float:
        return self.size[0] * self.size[1] / 1e6


@dataclass(frozen=True)
class Output:
    """An answer's bytes, and the seconds of each stage: `decode`, `inference` and `encode`.

    counts: the network's pixels of each class id, before `min_confidence`; their sum is the answer's height x width.
    mean_confidence: of all pixels, 0 to 1; None if the options do not need confidence. box: of a cut-out's object, left, top,
    width and height in pixels of the answer before `crop`; None for other formats, and if the cut-out shows no pixel.
    object_pixels: as `SegmentedImage.object_pixels` says. remark: what to tell of the file, if anything.
    """

    body: bytes
    seconds: dict[str, float]
    counts: tuple[int, ...]
    mean_confidence: float | None
    box: tuple[int, int, int, int] | None = None
    object_pixels: int | None = None
    remark: str = ""
