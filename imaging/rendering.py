"""What form of answer is wanted, and what that form needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from imaging.classes import Label, class_id, is_background, listed
from imaging.encoding import ImageFormat
from imaging.errors import AnswerTooLarge, UnknownClass, UnusedParameter
from imaging.regions import region_bytes

Format = Literal["png", "grey", "color", "overlay", "binary", "confidence", "json", "coco", "npz"]
MaskEncoding = Literal["rle", "png", "array", "polygons"]
FORMATS: tuple[str, ...] = get_args(Format)
MEDIA_TYPES: dict[str, str] = {"json": "application/json", "coco": "application/json", "npz": "application/x-npz"}
SUFFIXES: dict[str, str] = {"json": ".json", "coco": ".json", "npz": ".npz"}
IMAGE_SUFFIXES: dict[ImageFormat, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MEGAPIXELS = {"mask=array": 4.0, "probabilities": 4.0}
"""Up to so many are these given."""
FIXED_BYTES = 16 << 20
# bytes a pixel, measured on maps as mixed as logits with a cell for every two pixels make them
TAKEN = {
    "png": 5, "grey": 5, "binary": 5, "confidence": 5, "json": 12, "coco": 4, "npz": 6, "mask=array": 24,
    "color png": 5, "color jpeg": 9, "color webp": 20, "overlay png": 12, "overlay jpeg": 9, "overlay webp": 14,
}  # fmt: skip


def parse_classes(text: str) -> tuple[str, ...]:
    """The names and ids in a text that separates them by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


@dataclass(frozen=True)
class Rendering:
    """What is wanted: the format, and how it is filled.

    mask: with JSON, how the class map is written; with COCO, `polygons` or run lengths. alpha: opacity of an overlay.
    confidence: with JSON, whether the confidence map is added; probabilities: with npz, whether each class's are.
    min_confidence: pixels below it become 255, void. tolerance: of polygons, in pixels. name: the image's, for COCO.
    classes: names or ids of those that pictures, `binary`, COCO and polygons show; empty for all, in `binary` and COCO all but
    the background. image_format: of `color` and `overlay`, PNG unless given. Raises `UnusedParameter` where the format does
    not use one of the last two.
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

    def __post_init__(self) -> None:
        if self.classes and not (self.is_picture or self.polygons or self.format in ("binary", "coco")):
            uses = "format=color, overlay, binary, coco, and with json and mask=polygons"
            raise UnusedParameter(f"classes goes with {uses}, got format={self.format}; leave it out")
        if self.image_format and not self.is_picture:
            stated = f"image_format={self.image_format} goes with format=color and overlay, got format={self.format}"
            raise UnusedParameter(f"{stated}; masks are always PNG")

    @property
    def is_picture(self) -> bool:
        """Whether the answer is a picture for people, which may be JPEG or WebP."""
        return self.format in ("color", "overlay")

    @property
    def picture_format(self) -> ImageFormat:
        return self.image_format or "png"

    @property
    def polygons(self) -> bool:
        """Whether regions are written as polygons."""
        return self.mask == "polygons" and self.format in ("json", "coco")

    @property
    def needs_confidence(self) -> bool:
        """Whether probabilities are told, of pixels or of classes."""
        return self.format == "json" or self.needs_confidence_map

    @property
    def needs_confidence_map(self) -> bool:
        return self.format in ("confidence", "npz") or self.confidence or self.min_confidence > 0

    @property
    def needs_probabilities(self) -> bool:
        return self.format == "npz" and self.probabilities

    @property
    def needs_photo(self) -> bool:
        return self.format == "overlay"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(self.format, f"image/{self.picture_format}")

    @property
    def suffix(self) -> str:
        """Of the answer's file name."""
        return SUFFIXES.get(self.format, IMAGE_SUFFIXES[self.picture_format])

    def taken_bytes(self, pixels: int, classes: int) -> int:
        """At most so many bytes does encoding an image of so many pixels take, beside what it is given."""
        if self.needs_probabilities:
            return FIXED_BYTES + pixels * 4 * classes
        by_regions = self.format == "coco" or self.polygons
        picture = f"{self.format} {self.picture_format}" if self.is_picture else self.format
        regions = region_bytes(pixels, self.polygons) if by_regions else 0
        return FIXED_BYTES + pixels * TAKEN[self._limited or picture] + regions

    def check(self, size: tuple[int, int]) -> None:
        """Raises `AnswerTooLarge` where an image of this (height, width) cannot be answered so."""
        megapixels, limited = size[0] * size[1] / 1e6, self._limited
        if limited and megapixels > MEGAPIXELS[limited]:
            stated = f"{limited} is given up to {MEGAPIXELS[limited]:g} megapixels, and this image has {megapixels:.1f}"
            raise AnswerTooLarge(f"{stated}; ask for mask=rle or mask=png, without probabilities")

    def shown(self, labels: Sequence[Label]) -> frozenset[int]:
        """The ids of the classes that the answer shows; raises `UnknownClass`.

        Without `classes`: all, void (255) among them, but for `binary`, where the background is left out.
        """
        if self.classes:
            return frozenset(class_id(name, labels) for name in self.classes)
        if self.format != "binary":
            return frozenset(range(256))
        ids = frozenset(label.id for label in labels if not is_background(label.name))
        if len(ids) == len(labels):
            raise UnknownClass(f"format=binary needs classes=, as this model has no background; {listed(labels)}")
        return ids

    @property
    def _limited(self) -> str | None:
        """What of it is given for images of so many `MEGAPIXELS` alone."""
        if self.needs_probabilities:
            return "probabilities"
        return "mask=array" if self.format == "json" and self.mask == "array" else None
