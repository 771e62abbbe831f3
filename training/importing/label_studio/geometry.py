"""Shapes of Label Studio's regions, in pixels: coordinates are percent of the image's width and height.

Source of the format of brush labels: `label_studio_sdk/converter/brush.py` (`decode_rle`) of label-studio-sdk 2.1. The bits
are: the number of values (32), the bits of a value less one (5), four sizes of lengths less one (4 each), then the runs. A run
begins with a bit, the index of its size (2) and its length less one (that size). After the bit 1 it has one value, after 0 as
many as its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.arrays import Mask, Pixels, Size
from training.importing import outlines
from training.importing.outlines import LONGEST, Point

FORMS = {
    "brush": (frozenset({"rle"}), frozenset({"format"})),
    "bitmask": (frozenset({"imageDataURL"}), frozenset()),
    "polygon": (frozenset({"points"}), frozenset({"closed"})),
    "vector": (frozenset({"vertices"}), frozenset({"closed"})),
    "ellipse": (frozenset({"x", "y", "radiusX", "radiusY"}), frozenset({"rotation"})),
    "rectangle": (frozenset({"x", "y", "width", "height"}), frozenset({"rotation"})),
    "keypoint": (frozenset({"x", "y"}), frozenset({"width"})),
}
"""The keys of each form of geometry: those that it needs, and those that it may have."""
DIGITS = 6  # of pixels; percent such as 100 / 3 would else end beside a border of pixels
HANDLES = ("controlPoint1", "controlPoint2")  # of a vector's Bezier curves
CHANNELS = 4  # a brush label is an RGBA image; its alpha says what is painted
HALF = 128  # pixels at the edge of a stroke are painted in part


def find_form(geometry: Mapping[str, Any]) -> str | None:
    """The form whose keys these are; None if there is none."""
    keys = set(geometry)
    return next(
        (form for form, (required_keys, others) in FORMS.items() if required_keys <= keys <= required_keys | others), None
    )


def is_closed(geometry: Mapping[str, Any]) -> bool:
    """Whether a path encloses an area: polygons do unless they say otherwise, vectors if they say so."""
    return geometry.get("closed", "points" in geometry) is True


def draw(geometry: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """The `segmentation` or `bbox` of a geometry with an area, in COCO's form; raises `ValueError` for wrong values."""
    form = find_form(geometry)
    scale = (size[1] / 100, size[0] / 100)
    if form == "brush":
        if not isinstance(geometry["rle"], list):
            raise ValueError(f"needs rle as a list of numbers, got {str(geometry['rle'])[:LONGEST]}")
        return {"segmentation": outlines.encode_mask(decode_brush(geometry["rle"], size), size)}
    if form == "bitmask":
        return {"segmentation": outlines.encode_mask(outlines.decode_painted(geometry["imageDataURL"], size), size)}
    if form in ("polygon", "vector"):
        points = _polygon(geometry["points"], scale) if form == "polygon" else _path(geometry["vertices"], scale)
        return {"segmentation": [[value for point in points for value in point]]}
    turn = outlines.read_number(geometry.get("rotation", 0), "rotation")
    left, top = _pixels([geometry["x"], geometry["y"]], scale)
    if form == "ellipse":
        radii = _pixels([geometry["radiusX"], geometry["radiusY"]], scale)
        return {"segmentation": [outlines.ellipse_corners((left, top), radii, turn)]}
    across, along = _pixels([geometry["width"], geometry["height"]], scale)
    box = [left, top, across, along]
    # Label Studio turns a rectangle about its upper left corner, and an ellipse about its centre
    return {"bbox": outlines.box_corners(box, turn, about=(left, top)) if turn else box}


def known_points(geometry: Mapping[str, Any], size: Size) -> list[Point]:
    """The points of a geometry of no known form, in pixels; none if it has none. Raises `ValueError` for wrong values."""
    points = geometry.get("points", geometry.get("vertices"))
    if not isinstance(points, list):
        return []
    return [_pixels(point, (size[1] / 100, size[0] / 100)) for point in points]


def _polygon(points: Any, scale: Point) -> list[Point]:
    if not isinstance(points, list) or len(points) < 3:
        raise ValueError(f"a polygon needs three points or more, got {str(points)[:LONGEST]}")
    return [_pixels(point, scale) for point in points]


def _path(vertices: Any, scale: Point) -> list[Point]:
    """The closed path of a vector; raises `ValueError` for one with curves."""
    points = _in_order(vertices)
    if any(isinstance(vertex, dict) and vertex.get("isBezier") and any(map(vertex.get, HANDLES)) for vertex in points):
        raise ValueError("has curves: draw it as a polygon, or with the brush")
    return [_pixels(vertex, scale) for vertex in points]


def _in_order(vertices: Any) -> Sequence[Any]:
    """The vertices along the path: each may name the one before it. Raises `ValueError` for paths that branch."""
    if not isinstance(vertices, list) or len(vertices) < 3:
        raise ValueError(f"a vector needs three vertices or more, got {str(vertices)[:LONGEST]}")
    links = [vertex.get("prevPointId") if isinstance(vertex, dict) else None for vertex in vertices]
    if not any(links):
        return vertices
    start = next((vertex for vertex, previous in zip(vertices, links, strict=True) if not previous), vertices[0])
    successors = {
        str(previous): vertex for vertex, previous in zip(vertices, links, strict=True) if previous and vertex is not start
    }
    path = [start]
    while isinstance(path[-1], dict) and (vertex := successors.pop(str(path[-1].get("id")), None)) is not None:
        path.append(vertex)
    if len(path) < len(vertices):
        raise ValueError("its vertices branch, or do not name the vertices before them; draw one closed path")
    return path


def _pixels(point: Any, scale: Point) -> Point:
    """A point, or two values along x and y, in pixels."""
    x, y = outlines.read_point(point)
    return round(x * scale[0], DIGITS), round(y * scale[1], DIGITS)


def decode_brush(values: Sequence[int], size: tuple[int, int]) -> Mask:
    """The painted pixels, bool (H, W): those whose alpha is at least 128.

    values: the bytes of `rle`, 0 to 255 each. size: (height, width). Raises `ValueError` if they are no brush label of this
    size.
    """
    height, width = size
    if not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
        raise ValueError(f"a brush label must be a list of numbers from 0 to 255, got {str(values)[:LONGEST]}")
    bits = np.unpackbits(np.array(values, np.uint8))
    position = 0

    def take(number: int) -> Pixels:
        nonlocal position
        if position + number > len(bits):
            raise ValueError(f"a brush label ends after {len(values)} bytes, within a run")
        position += number
        return bits[position - number : position]

    def read(width: int) -> int:
        return int("".join(map(str, take(width).tolist())), 2)

    count, value_bits = read(32), read(5) + 1
    if count != height * width * CHANNELS or value_bits != 8:
        raise ValueError(
            f"a brush label of {height}x{width} pixels needs {height * width * CHANNELS} values of 8 bits, got {count} of "
            f"{value_bits}"
        )
    sizes = [read(4) + 1 for _ in range(4)]
    mask = np.zeros(height * width, bool)
    start = 0
    while start < count:
        is_repeated = read(1)
        length = read(sizes[read(2)]) + 1
        end = start + length
        if end > count:
            raise ValueError(f"a brush label of {count} values has runs of {end}")
        alphas = mask[start // CHANNELS : end // CHANNELS]  # the last channel of each pixel
        octets = read(8) if is_repeated else np.packbits(take(8 * length))[(CHANNELS - 1 - start) % CHANNELS :: CHANNELS]
        alphas[:] = octets >= HALF
        start = end
    return mask.reshape(height, width)
