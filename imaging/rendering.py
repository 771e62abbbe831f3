"""The form of answer that a request asks for, and what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

from imaging.classes import Label, class_id, class_list, is_background
from imaging.cutout import cutout_bytes
from imaging.encoding import ImageFormat
from imaging.errors import AnswerTooLarge, UnknownClass, UnusedParameter
from imaging.regions import region_bytes

Format = Literal["png", "grey", "color", "overlay", "cutout", "binary", "confidence", "json", "coco", "npz", "hf"]
MaskEncoding = Literal["rle", "png", "array", "polygons"]
PaletteName = Literal["display", "labels"]
Topology = Literal["shared"]
ANSWER_FORMATS: tuple[str, ...] = get_args(Format)
MEDIA_TYPES: dict[str, str] = {
    "json": "application/json",
    "coco": "application/json",
    "npz": "application/x-npz",
    "hf": "application/json",
}
PARAMETER_FORMATS: dict[str, tuple[Format, ...]] = {
    "mask": ("json", "coco"),
    "alpha": ("overlay",),
    "confidence": ("json",),
    "probabilities": ("npz",),
    "min_confidence": ("png", "grey", "color", "overlay", "binary", "json", "coco", "npz", "hf"),
    "tolerance": ("json", "coco"),
    "topology": ("json", "coco"),
    "classes": ("color", "overlay", "cutout", "binary", "json", "coco"),
    "image_format": ("color", "overlay"),
    "palette": ("color", "overlay"),
    "names": ("overlay",),
    "threshold": ("hf",),
    "mask_threshold": ("hf",),
    "subtask": ("hf",),
}
"""The formats that use a parameter. A parameter that does not stand here goes with every format."""
WITH_POLYGONS: dict[str, tuple[Format, ...]] = {
    "tolerance": ("json", "coco"),
    "topology": ("json", "coco"),
    "classes": ("json",),
}
"""The formats that use a parameter only with `mask=polygons`."""
SUFFIXES: dict[str, str] = {"json": ".json", "coco": ".json", "npz": ".npz", "hf": ".json"}
LONGEST_SIDES: dict[ImageFormat, int] = {"png": 1 << 30, "jpeg": 65_500, "webp": 16_383}
"""Pixels that a side may have: libjpeg's limit, and that of the WebP format."""
IMAGE_SUFFIXES: dict[ImageFormat, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MEGAPIXELS = {"mask=array": 4.0, "probabilities": 4.0}
"""Largest images, in megapixels, for which these are available."""
INSTEAD = {"mask=array": "mask=rle or mask=png", "probabilities": "it without probabilities"}  # for larger ones
FIXED_BYTES = 16 << 20
# bytes per pixel, measured on class maps with very small regions: those of logits with one cell for every two pixels
BYTES_PER_PIXEL = {
    "png": 5, "grey": 5, "binary": 5, "confidence": 5, "json": 12, "coco": 4, "npz": 6, "hf": 16, "mask=array": 24,
    "cutout": 14, "color png": 5, "color jpeg": 9, "color webp": 20, "overlay png": 12, "overlay jpeg": 9, "overlay webp": 14,
}  # fmt: skip


def parse_classes(text: str) -> tuple[str, ...]:
    """Splits a comma-separated text into names and ids of classes."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


@dataclass(frozen=True)
class Rendering:
    """The form of an answer: its format, and the parameters of that format.

    mask: with JSON, how the class map is written; with COCO, `polygons` or run lengths. alpha: opacity of the colours in an
    overlay, 0 to 1. confidence: with JSON, whether to add the confidence map. probabilities: with npz, whether to add the
    probabilities of every class. min_confidence: 0 to 1; pixels below it become void (255). tolerance: largest movement of a
    polygon's points, in pixels. name: file name of the image, for COCO. classes: names or ids of the classes that pictures,
    `cutout`, `binary`, COCO and polygons show; empty means all, except for the background in overlays, `cutout`, `binary` and
    COCO.
    image_format: of `color` and `overlay`, by default PNG. palette: their colours, made to be told apart
    (`imaging/palette.py`) or those of the label set. names: whether an overlay bears the names of classes.
    topology: of polygons, whether neighbours share their borders; None means that each is simplified for itself.
    threshold: of `hf`, the least mean confidence of a class, 0 to 1.
    Raises `UnusedParameter` for a parameter that differs from its default and that the format does not use.
    """

    format: Format = "png"
    mask: MaskEncoding = "rle"
    alpha: float = 0.5
    confidence: bool = False
    probabilities: bool = False
    min_confidence: float = 0.0
    tolerance: float = 1.0
    name: str = "image"
    classes: tuple[str, ...] = ()
    image_format: ImageFormat | None = None
    palette: PaletteName = "display"
    names: bool = True
    threshold: float = 0.0
    topology: Topology | None = None

    def __post_init__(self) -> None:
        self.check_uses(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def check_uses(self, names: Iterable[str]) -> None:
        """Raises `UnusedParameter` for the first of these parameters that this form of answer does not use."""
        for name in names:
            if not self.uses(name):
                mask = f", mask={self.mask}" if self.format in WITH_POLYGONS.get(name, ()) else ""
                problem = f"{name} applies to {formats_with(name)}, got format={self.format}{mask}"
                raise UnusedParameter(f"{problem}; give {self._values_for(name)}, or leave {name} out")

    def uses(self, name: str) -> bool:
        """Whether this form of answer depends on the parameter of this name."""
        by_polygons = self.format in WITH_POLYGONS.get(name, ())
        return self.format in PARAMETER_FORMATS.get(name, ANSWER_FORMATS) and (not by_polygons or self.mask == "polygons")

    @property
    def is_picture(self) -> bool:
        """Whether the answer is a picture for people to look at. Such a picture may be JPEG or WebP."""
        return self.format in ("color", "overlay")

    @property
    def picture_format(self) -> ImageFormat:
        return self.image_format or "png"

    @property
    def polygons(self) -> bool:
        """Whether the answer contains regions as polygons."""
        return self.mask == "polygons" and self.format in ("json", "coco")

    @property
    def needs_confidence(self) -> bool:
        """Whether the answer contains confidence, of pixels or of classes."""
        return self.format in ("json", "hf") or self.needs_confidence_map

    @property
    def needs_confidence_map(self) -> bool:
        return self.format in ("confidence", "npz") or (self.format == "json" and self.confidence) or self.min_confidence > 0

    @property
    def needs_probabilities(self) -> bool:
        return self.format == "npz" and self.probabilities

    @property
    def needs_photo(self) -> bool:
        return self.format in ("overlay", "cutout")

    @property
    def needs_foreground(self) -> bool:
        """Whether the answer needs the probability of the classes that it shows."""
        return self.format == "cutout"

    @property
    def is_json(self) -> bool:
        return MEDIA_TYPES.get(self.format) == "application/json"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(self.format, f"image/{self.picture_format}")

    @property
    def suffix(self) -> str:
        """The ending of the answer's file name, with its dot."""
        return SUFFIXES.get(self.format, IMAGE_SUFFIXES[self.picture_format])

    def memory_bytes(self, size: tuple[int, int], classes: int) -> int:
        """Upper bound, in bytes, of the memory that encoding an answer of this (height, width) needs besides its input."""
        pixels = size[0] * size[1]
        if self.needs_probabilities:
            return FIXED_BYTES + pixels * 4 * classes
        by_regions = self.format == "coco" or self.polygons
        picture = f"{self.format} {self.picture_format}" if self.is_picture else self.format
        regions = region_bytes(size, self.polygons, shares_borders=self.topology == "shared") if by_regions else 0
        extra = cutout_bytes(pixels) if self.format == "cutout" else regions
        return FIXED_BYTES + pixels * BYTES_PER_PIXEL[self._limited_part or picture] + extra

    def check(self, size: tuple[int, int]) -> None:
        """Raises `AnswerTooLarge` if an image of this (height, width) is too large for this form of answer."""
        if self.is_picture and max(size) > (side := LONGEST_SIDES[self.picture_format]):
            problem = f"a side of {self.picture_format} has at most {side:,} pixels, and this image is {size[1]}x{size[0]}"
            raise AnswerTooLarge(f"{problem}; ask for image_format=png")
        megapixels, part = size[0] * size[1] / 1e6, self._limited_part
        if part and megapixels > MEGAPIXELS[part]:
            problem = f"{part} is available up to {MEGAPIXELS[part]:g} megapixels, and this image has {megapixels:.1f}"
            raise AnswerTooLarge(f"{problem}; ask for {INSTEAD[part]}")

    def class_ids(self, labels: Sequence[Label]) -> frozenset[int]:
        """The ids of the classes that the answer shows; raises `UnknownClass`.

        Without `classes`, these are all ids from 0 to 255, including void (255); in an overlay, all but the background.
        `binary` and `cutout` show every class of the label set except the background.
        """
        if self.classes:
            return frozenset(class_id(name, labels) for name in self.classes)
        if self.format not in ("binary", "cutout"):
            background_ids = [label.id for label in labels if is_background(label.name)] if self.format == "overlay" else []
            return frozenset(range(256)).difference(background_ids)
        ids = frozenset(label.id for label in labels if not is_background(label.name))
        if len(ids) == len(labels):
            raise UnknownClass(f"format={self.format} needs classes=, as this model has no background; {class_list(labels)}")
        return ids

    def _values_for(self, name: str) -> str:
        """Values of `format` and `mask` with which a parameter has an effect, as a query has them."""
        formats = PARAMETER_FORMATS[name]
        format = self.format if self.format in formats else formats[0]
        mask = self.mask if name == "mask" else "polygons" if format in WITH_POLYGONS.get(name, ()) else ""
        parts = [f"format={format}"] if format != self.format else []
        return "&".join([*parts, *([f"mask={mask}"] if mask else [])])

    @property
    def _limited_part(self) -> str | None:
        """The part of the answer whose image size `MEGAPIXELS` limits, if it has one."""
        if self.needs_probabilities:
            return "probabilities"
        return "mask=array" if self.format == "json" and self.mask == "array" else None


def formats_with(name: str) -> str:
    """The formats that use a parameter, in words."""
    if name not in PARAMETER_FORMATS:
        return "every format"
    polygons = WITH_POLYGONS.get(name, ())
    plain = ", ".join(format for format in PARAMETER_FORMATS[name] if format not in polygons)
    words = [f"format={plain}"] if plain else []
    return " and ".join([*words, *([f"format={' or '.join(polygons)} with mask=polygons"] if polygons else [])])
