"""The service's parameters. `python -m docs.parameters` in the service's repository writes this file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

Blend = Literal["mean", "hann"]
Side = Literal["auto", "native"] | int
Quality = Literal["standard", "high"]
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
    # regions smaller than this take the class of a neighbour that fits best: pixels (`200`), or a share of the image (`0.1%`)
    min_area: int | str | None
    # holes smaller than this take the class around them: pixels, or a share of the image
    fill_holes: int | str | None
    # a model of `/models` (default: the first)
    model: str | None


FORMS: dict[str, dict[str, str]] = {
    "segment": {"format": "json", "mask": "rle"},
    "overlay": {"format": "overlay"},
    "cutout": {"format": "cutout"},
    "polygons": {"format": "json", "mask": "polygons"},
    "coco": {"format": "coco"},
}
"""The parameters that each method chooses itself."""
OWN: dict[str, tuple[str, ...]] = {
    "segment": ("confidence",),
    "overlay": ("classes", "alpha", "image_format", "palette", "names"),
    "cutout": ("classes", "image_format", "crop", "background"),
    "polygons": ("classes", "tolerance", "topology"),
    "coco": ("mask", "classes", "tolerance", "topology"),
}
"""The parameters that each method has besides `Options`."""
