"""Shapes of labelling tools in COCO's form: outlines as polygons, x and y in pixels, and masks as run lengths; their numbers.

x points to the right and y down. Masks come as PNGs in base64, and are read within the limits of images. Run lengths go down
the columns.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from math import ceil, cos, floor, hypot, pi, sin
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
from shapely import LineString, affinity

from common.arrays import Mask, Size
from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError
from training.importing.coco import as_key

LONGEST_CHORD = 2.0  # pixels between neighbouring corners of a polygon for an ellipse
FEWEST_CORNERS, MOST_CORNERS = 64, 720  # of an ellipse
LIMITS = Limits()
DATA_URL = re.compile(r"data:image/png;base64,", re.IGNORECASE)
HALF = 128  # alpha from which on a pixel is painted
Point = tuple[float, float]
LARGEST = 1e6  # pixels, percent or degrees; larger numbers are none
LONGEST = 60  # letters of a value or key of an export that a message shows


class Extent(NamedTuple):
    """The box around an object before it was cut at the border of its photo, in pixels."""

    left: float
    top: float
    width: float
    height: float


def pixel_corners(box: Sequence[float]) -> list[float]:
    """The corners of all pixels that a box (left, top, width, height) touches, x and y in turn; of a turned box, its own."""
    if len(box) == 8:
        return list(box)
    left, top, width, height = box
    x, y = floor(left), floor(top)
    return box_corners((x, y, max(0, ceil(left + width) - x), max(0, ceil(top + height) - y)))


def box_corners(box: Sequence[float], degrees: float = 0.0, about: Point = (0.0, 0.0)) -> list[float]:
    """The four corners of a box (left, top, width, height), turned clockwise about a point: x and y in turn."""
    left, top, width, height = box
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    return _rotate(corners, degrees, about)


def box_of_corners(points: Sequence[Point]) -> list[float]:
    """A box, given two opposite corners or all four: left, top, width and height; or the corners in turn, if it is turned.

    Raises `ValueError` for corners whose sides cross.
    """
    xs, ys = ({point[axis] for point in points} for axis in (0, 1))
    if len(points) == 2 or (len(xs) < 3 and len(ys) < 3 and len(set(points)) == len(xs) * len(ys)):
        return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    turns = [
        (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
        for a, b, c in zip(points, [*points[1:], *points[:1]], [*points[2:], *points[:2]], strict=True)
    ]
    if min(turns) < 0 < max(turns):
        raise ValueError(f"the sides of its box cross: its corners are {', '.join(map(str, points))}")
    return [value for point in points for value in point]


def ellipse_corners(center: Point, radii: Point, degrees: float = 0.0) -> list[float]:
    """A polygon on an ellipse with these radii along x and y, turned clockwise about its centre: x and y in turn."""
    count = int(min(MOST_CORNERS, max(FEWEST_CORNERS, 2 * pi * hypot(*radii) / LONGEST_CHORD)))
    angles = [2 * pi * index / count for index in range(count)]
    return _rotate(
        [(center[0] + radii[0] * cos(angle), center[1] + radii[1] * sin(angle)) for angle in angles], degrees, center
    )


def box_around(points: Sequence[Point], size: tuple[int, int]) -> list[float]:
    """The pixels of an image (height, width) in which an unknown shape with these points lies, as four corners.

    That is the box around three points or more. With fewer, it is the whole image: two may be the centre and rim of a circle.
    """
    height, width = size
    if len(points) < 3:
        return box_corners((0, 0, width, height))
    xs = [min(width, max(0.0, x)) for x, _ in points]
    ys = [min(height, max(0.0, y)) for _, y in points]
    return pixel_corners((min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)))


def _rotate(points: Sequence[Point], degrees: float, about: Point) -> list[float]:
    """The coordinates of points that are turned clockwise about a point; multiples of 90 degrees are exact."""
    return [value for point in affinity.rotate(LineString(points), degrees % 360, about).coords for value in point]


def read_point(point: Any) -> Point:
    """The coordinates of a point [x, y], or of an object with x and y; raises `ValueError` for others."""
    if isinstance(point, dict) and {"x", "y"} <= set(point):
        point = [point["x"], point["y"]]
    if not isinstance(point, list) or len(point) != 2:
        raise ValueError(f"needs points as [[x, y], ...], got {str(point)[:LONGEST]}")
    return read_number(point[0], "x"), read_number(point[1], "y")


def read_number(value: Any, name: str) -> float:
    """A coordinate, length or angle; raises `ValueError` for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"needs a number for {name}, got {str(value)[:LONGEST]}")
    return float(value)


def check_size(height: object, width: object) -> Size:
    """An image's size in the JSON; raises `ValueError` if it is none, or has more pixels than are read of an image."""
    height, width = as_key(height), as_key(width)  # 60.0 is 60
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"needs the height and width of its image in pixels, got {str((height, width))[:LONGEST]}")
    if height * width > LIMITS.megapixels * 1e6:
        raise ValueError(f"is on an image of {width}x{height} pixels; at most {LIMITS.megapixels:g} megapixels are read")
    return height, width


def decode_base64(text: object) -> bytes:
    """Raises `ValueError` for anything but a text in base64."""
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"needs a PNG in base64, got {str(text)[:LONGEST]}") from error


def decode_painted(url: object, size: Size) -> Mask:
    """The painted pixels (H, W) of a PNG of this size in a data URL, as Label Studio writes bitmasks.

    Painted are pixels whose alpha is at least 128. In a PNG that is opaque everywhere, as other programs write masks, pixels
    that are not black are painted. Raises `ValueError`.
    """
    prefix = DATA_URL.match(url) if isinstance(url, str) else None
    if not isinstance(url, str) or not prefix:
        raise ValueError(f"needs a PNG as data:image/png;base64, and its bytes, got {str(url)[:LONGEST]}")
    image = _open_png(decode_base64(url[prefix.end() :]), size)
    if image.has_transparency_data:
        alpha = np.asarray((image if image.mode == "RGBA" else image.convert("RGBA")).getchannel("A"))
        if alpha.min() < 255 or image.convert("RGB").getcolors(1) is not None:  # of one colour
            return alpha >= HALF
    colors = np.asarray(image.convert("RGB"))
    mask: Mask = colors.max(axis=-1) > 0
    return mask


def decode_nonzero(text: object, size: Size, tolerance: int) -> Mask:
    """The pixels (h, w) of a grey PNG in base64 that are not 0, as labelme writes masks.

    tolerance: pixels by which its height and width may differ from `size`. Raises `ValueError`.
    """
    image = _open_png(decode_base64(text), size, tolerance)
    if image.has_transparency_data:
        raise ValueError("needs a grey PNG without transparency as its mask")
    values = np.asarray(image)
    nonzero: Mask = (values.max(axis=-1) if values.ndim == 3 else values) != 0
    return nonzero


def _open_png(data: bytes, size: Size, tolerance: int = 0) -> Image.Image:
    """The decoded image; its pixels are only decoded if its header says a PNG of this size."""
    try:
        image = OpenImage(data, LIMITS)
        file_size, kind = image.stored_size[::-1], image.format
        if kind == "PNG" and all(abs(a - b) <= tolerance for a, b in zip(file_size, size, strict=True)):
            return image.load()
    except ImageError as error:
        raise ValueError(f"needs a PNG in base64: {error}") from error
    raise ValueError(f"needs a PNG of {size[1]}x{size[0]} pixels, got a {kind} of {file_size[1]}x{file_size[0]}")


def encode_mask(mask: Mask, size: Size, corner: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """The compressed run lengths, as COCO's `segmentation`, of an image of this size that shows a mask.

    corner: row and column of the image where the mask begins; it may reach out of the image.
    """
    whole = Image.new("L", size[::-1])
    whole.paste(Image.fromarray(mask.astype(np.uint8)), corner[::-1])
    columns = np.asarray(whole.transpose(Image.Transpose.TRANSPOSE))  # far faster than NumPy's copy
    return {"counts": run_lengths.encode(columns.T)["counts"].decode("ascii"), "size": list(size)}
