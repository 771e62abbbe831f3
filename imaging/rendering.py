"""The form of answer that a request asks for, and what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Literal, get_args

from imaging.classes import Label, class_list, object_ids
from imaging.cutout import COLOR_PATTERN, cutout_bytes, parse_color
from imaging.decoding import LONGEST_SIDE
from imaging.encoding import ImageFormat
from imaging.errors import AnswerTooLarge, WrongParameter
from imaging.parameters import Parameter, parameters_of
from imaging.regions import region_bytes

Format = Literal[
    "png", "grey", "color", "overlay", "cutout", "binary", "confidence", "json", "coco", "npz", "hf", "geotiff", "geojson"
]
MaskEncoding = Literal["rle", "png", "array", "polygons"]
PaletteName = Literal["display", "labels"]
Topology = Literal["shared"]
Objects = Literal["all", "largest"]
ANSWER_FORMATS: tuple[str, ...] = get_args(Format)
FILES: dict[str, tuple[str, str]] = {
    "json": ("application/json", ".json"),
    "coco": ("application/json", ".json"),
    "npz": ("application/x-npz", ".npz"),
    "hf": ("application/json", ".json"),
    "geotiff": ("image/tiff", ".tif"),
    "geojson": ("application/geo+json", ".geojson"),
}
"""The media type, and the ending of a file's name, of each format that is no picture in an image format of its own."""
LONGEST_SIDES: dict[ImageFormat, int] = {"png": 1 << 30, "jpeg": 65_500, "webp": 16_383}
"""Pixels that a side may have: libjpeg's limit, and that of the WebP format."""
IMAGE_SUFFIXES: dict[ImageFormat, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MOST_MEGAPIXELS = 4.0
INSTEAD = {"mask=array": "mask=rle or mask=png", "probabilities": "it without probabilities"}
"""Parts of an answer that are available up to `MOST_MEGAPIXELS`, and what to ask for with larger images."""
FIXED_BYTES = 16 << 20
CHOICE_BYTES = 6  # for each pixel, to choose regions
# bytes per pixel, measured on class maps with very small regions: those of logits with one cell for every two pixels
BYTES_PER_PIXEL = {
    "png": 5, "grey": 5, "binary": 5, "confidence": 5, "json": 12, "coco": 4, "npz": 6, "hf": 16, "mask=array": 24,
    "cutout png": 18, "cutout jpeg": 18, "cutout webp": 30, "color png": 5, "color jpeg": 9, "color webp": 20,
    "overlay png": 12, "overlay jpeg": 9, "overlay webp": 14,
    "geotiff": 6, "geojson": 4,
}  # fmt: skip


WIDTH = Parameter(
    help="most pixels of a row; the picture keeps the photo's shape", option="most pixels of a picture's row", group="pictures",
    metavar="PIXELS", unset="the photo's", formats=("color", "overlay", "cutout"), least=1, most=LONGEST_SIDE,
)  # fmt: skip


def parse_classes(text: str) -> tuple[str, ...]:
    """Splits a comma-separated text into names and ids of classes."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


@dataclass(frozen=True)
class Rendering:
    """The form of an answer: its format, and the parameters of that format.

    name: file name of the image, for COCO. shapes: with polygons of COCO, the answer is `shapes_answer` instead, in the
    layout of the file's pixels, and `tolerance` a share of each outline. Raises `ValueError` for a value that a parameter may
    not have, and `WrongParameter` for a parameter that differs from its default and that the format does not use.
    """

    # fmt: off
    format: Annotated[Format, Parameter(
        help="form of the answer; overrides `Accept` (default: png)", option="format of the answer", by_service=True,
    )] = "png"
    mask: Annotated[MaskEncoding, Parameter(
        help="with JSON: how the class map is written (array: up to 4 megapixels); with coco: polygons, or run lengths for "
        "every other value",
        option="how json and coco write regions", formats=("json", "coco"),
    )] = "rle"
    alpha: Annotated[float, Parameter(
        help="opacity of the colours in an overlay", option="opacity of the colours in an overlay", group="pictures",
        metavar="SHARE", formats=("overlay",), least=0, most=1,
    )] = 0.5
    confidence: Annotated[bool, Parameter(
        help="with JSON: adds the confidence map, a grey PNG", option="with json: add the confidence map", formats=("json",),
    )] = False
    probabilities: Annotated[bool, Parameter(
        help="with npz: adds every class's probability; up to 4 megapixels",
        option="with npz: add every class's probability", formats=("npz",),
    )] = False
    min_confidence: Annotated[float, Parameter(
        help="pixels with less confidence become 255, void; with {formats}",
        option="pixels with less confidence become 255 (void); with {formats}", group="regions", metavar="SHARE",
        formats=("png", "grey", "color", "overlay", "binary", "json", "coco", "npz", "hf", "geotiff", "geojson"), least=0,
        most=1,
    )] = 0.0
    objects: Annotated[Objects, Parameter(
        help="`largest`: only the largest region of the shown classes", formats=("overlay", "cutout", "binary", "coco"),
        option="largest: only the largest connected region; with {formats}", group="regions",
    )] = "all"
    min_object_confidence: Annotated[float, Parameter(
        help="regions of the shown classes with less mean confidence are left out", least=0, most=1, metavar="SHARE",
        option="leave out connected regions of less mean confidence; with {formats}", group="regions",
        formats=("overlay", "cutout", "binary", "coco"),
    )] = 0.0
    tolerance: Annotated[float, Parameter(
        help="with polygons: how far a point may move, in image pixels",
        option="how far polygons' points may move, in pixels", group="regions", metavar="PIXELS",
        formats=("json", "coco", "geojson"), with_polygons=("json", "coco"), least=0, most=100,
    )] = 1.0
    name: str = "image"
    shapes: bool = False
    classes: Annotated[tuple[str, ...], Parameter(
        help="comma-separated names or ids of the classes that the answer shows (default: all; overlay, cutout, binary, coco "
        "and geojson: all but the background); with {formats}",
        option="classes that the answer shows: names or ids, separated by commas; with {formats}", metavar="NAMES",
        unset="all", formats=("color", "overlay", "cutout", "binary", "json", "coco", "geojson"), with_polygons=("json",),
        values="names or ids", parse=parse_classes,
    )] = ()
    image_format: Annotated[ImageFormat | None, Parameter(
        help="image format of color and overlay, where it overrides `Accept`, and of cutout (default: png); a JPEG of a cutout "
        "needs a `background`",
        option="file format of color, overlay and cutout", group="pictures", unset="png",
        formats=("color", "overlay", "cutout"), synonyms={"jpg": "jpeg"},
    )] = None
    crop: Annotated[bool, Parameter(
        help="with cutout: the object's box alone; the header `X-Object-Box` says where it was",
        option="with cutout: the object's box alone", group="pictures", formats=("cutout",),
    )] = False
    background: Annotated[str | None, Parameter(
        help="with cutout: a colour below the object, instead of transparency", option="with cutout: a colour below the object",
        group="pictures", metavar="COLOR", unset="transparent", formats=("cutout",),
        values="`#rrggbb` or `#rgb` (in a web address `%23rrggbb`), or the name of a colour of CSS, such as `white`",
        pattern=f"^({COLOR_PATTERN})$", examples=("#ffffff", "white"), parse=parse_color,
    )] = None
    width: Annotated[int | None, WIDTH] = None
    height: Annotated[int | None, replace(WIDTH, help="most rows, as `width`", option="most rows of a picture")] = None
    palette: Annotated[PaletteName, Parameter(
        help="colours of color and overlay: made to be told apart, or those of the label set",
        option="colours of color and overlay: easy to tell apart, or the label set's", group="pictures",
        formats=("color", "overlay"),
    )] = "display"
    names: Annotated[bool, Parameter(
        help="with overlay: writes the classes' names on the regions", option="write the classes' names on an overlay",
        group="pictures", formats=("overlay",),
    )] = True
    threshold: Annotated[float, Parameter(
        help="with hf: classes of a lower score are left out", formats=("hf",), least=0, most=1,
    )] = 0.0
    topology: Annotated[Topology | None, Parameter(
        help="with polygons: neighbours share their borders, without gaps",
        option="neighbouring polygons share their borders, without gaps", group="regions",
        unset="each polygon is simplified alone", formats=("json", "coco", "geojson"), with_polygons=("json", "coco"),
    )] = None
    # fmt: on

    def __post_init__(self) -> None:
        for each in RENDERING.values():
            each.check(getattr(self, each.name))
        self.check_uses(each for each in RENDERING.values() if getattr(self, each.name) != each.default)
        if self.format == "cutout" and self.image_format == "jpeg" and self.background is None:
            problem = "image_format=jpeg of format=cutout needs a background, since a JPEG has no transparency"
            raise WrongParameter(f"{problem}; give background=#ffffff (in a web address %23ffffff), or image_format=webp")

    def check_uses(self, parameters: Iterable[Parameter]) -> None:
        """Raises `WrongParameter` for the first of these parameters that this form of answer does not use."""
        for parameter in parameters:
            if not parameter.is_used(self.format, self.mask):
                name, mask = parameter.name, f", mask={self.mask}" if self.format in parameter.with_polygons else ""
                problem = f"{name} applies to {parameter.formats_in_words}, got format={self.format}{mask}"
                raise WrongParameter(f"{problem}; give {self._values_for(parameter)}, or leave {name} out")

    def uses(self, name: str) -> bool:
        """Whether this form of answer depends on the parameter of this name."""
        return name not in RENDERING or RENDERING[name].is_used(self.format, self.mask)

    @property
    def is_picture(self) -> bool:
        """Whether the answer is a picture for people to look at. Such a picture may be JPEG or WebP."""
        return self.format in ("color", "overlay", "cutout")

    @property
    def picture_format(self) -> ImageFormat:
        return self.image_format or "png"

    @property
    def polygons(self) -> bool:
        """Whether the answer contains regions as polygons."""
        return self.format == "geojson" or (self.mask == "polygons" and self.format in ("json", "coco"))

    @property
    def shares_borders(self) -> bool:
        """Whether neighbouring polygons share their borders."""
        return self.topology == "shared"

    @property
    def needs_confidence(self) -> bool:
        """Whether the answer contains confidence, of pixels or of classes."""
        return self.format in ("json", "hf") or self.needs_confidence_map

    @property
    def needs_confidence_map(self) -> bool:
        formats = ("confidence", "npz", "geojson")
        return (
            self.format in formats
            or self.shapes
            or (self.format == "json" and self.confidence)
            or max(self.min_confidence, self.min_object_confidence) > 0
        )

    @property
    def chooses_regions(self) -> bool:
        """Whether the answer leaves out some connected regions of the classes that it shows."""
        return self.objects == "largest" or self.min_object_confidence > 0

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
    def needs_place(self) -> bool:
        """Whether the answer has coordinates, which a georeferenced TIFF alone says."""
        return self.format in ("geotiff", "geojson")

    @property
    def is_json(self) -> bool:
        return "json" in self.media_type

    @property
    def media_type(self) -> str:
        return FILES[self.format][0] if self.format in FILES else f"image/{self.picture_format}"

    @property
    def suffix(self) -> str:
        """The ending of the answer's file name, with its dot."""
        return FILES[self.format][1] if self.format in FILES else IMAGE_SUFFIXES[self.picture_format]

    def answer_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the answer for an image of this one: its shape within `width` and `height`, never enlarged."""
        height, width = size
        share = min(Fraction(1), Fraction(self.width or width, width), Fraction(self.height or height, height))
        return max(1, round(height * share)), max(1, round(width * share))

    def memory_bytes(self, size: tuple[int, int], classes: int) -> int:
        """Upper bound, in bytes, of the memory that encoding an answer of this (height, width) needs besides its input."""
        pixels = size[0] * size[1]
        if self.needs_probabilities:
            return FIXED_BYTES + pixels * 4 * classes
        by_regions = self.format == "coco" or self.polygons
        picture = f"{self.format} {self.picture_format}" if self.is_picture else self.format
        regions = region_bytes(size, self.polygons, shares_borders=self.shares_borders) if by_regions else 0
        extra = cutout_bytes(pixels) if self.format == "cutout" else regions
        extra += CHOICE_BYTES * pixels + region_bytes(size, polygons=False) if self.chooses_regions else 0
        return FIXED_BYTES + pixels * BYTES_PER_PIXEL[self._limited_part or picture] + extra

    def check(self, size: tuple[int, int]) -> None:
        """Raises `AnswerTooLarge` if an image of this (height, width) is too large for this form of answer."""
        if self.is_picture and max(self.answer_size(size)) > (side := LONGEST_SIDES[self.picture_format]):
            problem = f"a side of {self.picture_format} has at most {side:,} pixels, and this image is {size[1]}x{size[0]}"
            raise AnswerTooLarge(f"{problem}; ask for image_format=png")
        megapixels, part = size[0] * size[1] / 1e6, self._limited_part
        if part and megapixels > MOST_MEGAPIXELS:
            problem = f"{part} is available up to {MOST_MEGAPIXELS:g} megapixels, and this image has {megapixels:.1f}"
            raise AnswerTooLarge(f"{problem}; ask for {INSTEAD[part]}")

    def class_ids(self, labels: Sequence[Label]) -> frozenset[int]:
        """The ids of the classes that the answer shows; raises `WrongParameter`.

        Without `classes`, these are all ids from 0 to 255, including void (255); in an overlay, all but the background.
        `binary`, `cutout` and an answer that chooses regions show every class of the label set except the background.
        """
        ids = object_ids(self.classes, labels)
        if self.classes or self.format in ("binary", "cutout") or self.chooses_regions:
            if len(ids) == len(labels) and not self.classes:
                who = "objects and min_object_confidence need" if self.chooses_regions else f"format={self.format} needs"
                raise WrongParameter(f"{who} classes=, as this model has no background; {class_list(labels)}")
            return ids
        background_ids = {label.id for label in labels}.difference(ids) if self.format == "overlay" else ()
        return frozenset(range(256)).difference(background_ids)

    def _values_for(self, parameter: Parameter) -> str:
        """Values of `format` and `mask` with which a parameter has an effect, as a query has them."""
        format = self.format if self.format in parameter.formats else parameter.formats[0]
        mask = self.mask if parameter.name == "mask" else "polygons" if format in parameter.with_polygons else ""
        parts = [f"format={format}"] if format != self.format else []
        return "&".join([*parts, *([f"mask={mask}"] if mask else [])])

    @property
    def _limited_part(self) -> str | None:
        """The part of the answer whose image size `MOST_MEGAPIXELS` limits, if it has one."""
        if self.needs_probabilities:
            return "probabilities"
        return "mask=array" if self.format == "json" and self.mask == "array" else None


RENDERING = parameters_of(Rendering)
"""The parameters of the form of an answer, by name."""
