"""The service's parameters. `python -m docs.parameters` in the service's repository writes this file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

Blend = Literal["mean", "hann"]
Side = Literal["auto", "native"] | int
Quality = Literal["standard", "high"]
Objects = Literal["all", "largest"]
ImageFormat = Literal["png", "jpeg", "webp"]
Palette = Literal["display", "labels"]
Topology = Literal["shared"]
Mask = Literal["rle", "polygons"]
Classes = str | int | Iterable[str | int]
"""Names or ids of classes: one, several with commas, or a list."""


class Options(TypedDict, total=False):
    """Options of every method. The service chooses the value of a missing option or None."""

    # fraction of a tile shared with its neighbour
    overlap: float | None
    # how overlapping logits are averaged (default: the server's)
    blend: Blend | None
    # size to work at: `native`, the longer side in pixels, or `auto` (the range that the weights advise)
    side: Side | None
    # `high`: averages three sizes and their mirror images; about eight times the work
    quality: Quality | None
    # pixels with less confidence become 255, void; with format=png, grey, color, overlay, binary, json, coco, npz, hf, geotiff,
    # geojson
    min_confidence: float | None
    # regions smaller than this take the class of a neighbour that fits best
    min_area: int | str | None
    # holes smaller than this take the class around them
    fill_holes: int | str | None
    # a model of `/models` (default: the first)
    model: str | None


class SegmentOptions(Options, total=False):
    """Options of `segment`."""

    # add the confidence map
    confidence: bool | None


class OverlayOptions(Options, total=False):
    """Options of `overlay`."""

    # classes that the answer shows: names or ids, separated by commas
    classes: Classes | None
    # largest: only the largest connected region
    objects: Objects | None
    # leave out connected regions of less mean confidence
    min_object_confidence: float | None
    # opacity of the colours in an overlay
    alpha: float | None
    # file format of color, overlay and cutout
    image_format: ImageFormat | None
    # most pixels of a picture's row
    width: int | None
    # most rows of a picture
    height: int | None
    # colours of color and overlay: easy to tell apart, or the label set's
    palette: Palette | None
    # write the classes' names on an overlay
    names: bool | None


class CutoutOptions(Options, total=False):
    """Options of `cutout`."""

    # classes that the answer shows: names or ids, separated by commas
    classes: Classes | None
    # largest: only the largest connected region
    objects: Objects | None
    # leave out connected regions of less mean confidence
    min_object_confidence: float | None
    # file format of color, overlay and cutout
    image_format: ImageFormat | None
    # the object's box alone
    crop: bool | None
    # a colour below the object
    background: str | None
    # most pixels of a picture's row
    width: int | None
    # most rows of a picture
    height: int | None


class PolygonsOptions(Options, total=False):
    """Options of `polygons`."""

    # classes that the answer shows: names or ids, separated by commas
    classes: Classes | None
    # how far polygons' points may move, in pixels
    tolerance: float | None
    # neighbouring polygons share their borders, without gaps
    topology: Topology | None


class CocoOptions(Options, total=False):
    """Options of `coco`."""

    # how json and coco write regions
    mask: Mask | None
    # classes that the answer shows: names or ids, separated by commas
    classes: Classes | None
    # largest: only the largest connected region
    objects: Objects | None
    # leave out connected regions of less mean confidence
    min_object_confidence: float | None
    # how far polygons' points may move, in pixels
    tolerance: float | None
    # neighbouring polygons share their borders, without gaps
    topology: Topology | None


FORMS: dict[str, dict[str, str]] = {
    "segment": {"format": "json", "mask": "png"},
    "mask_png": {"format": "png"},
    "overlay": {"format": "overlay", "image_format": "jpeg"},
    "cutout": {"format": "cutout"},
    "polygons": {"format": "json", "mask": "polygons"},
    "coco": {"format": "coco", "mask": "rle"},
}
"""What each method asks for, unless its options say otherwise."""
NAMES: dict[str, tuple[str, ...]] = {
    "segment": tuple(SegmentOptions.__annotations__),
    "mask_png": tuple(Options.__annotations__),
    "overlay": tuple(OverlayOptions.__annotations__),
    "cutout": tuple(CutoutOptions.__annotations__),
    "polygons": tuple(PolygonsOptions.__annotations__),
    "coco": tuple(CocoOptions.__annotations__),
}
"""The options of each method."""
