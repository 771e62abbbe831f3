"""Outlines of shapes as polygons: x and y in pixels, x to the right and y down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, dist, floor, hypot, pi, sin

from shapely import LineString, affinity

Point = tuple[float, float]
LONGEST_CHORD = 2.0  # pixels between neighbouring corners of a polygon for an ellipse or a curve
FEWEST_CORNERS, MOST_CORNERS = 64, 720  # of an ellipse
FEWEST_STEPS, MOST_STEPS = 8, 360  # of a curve
MISSING_HANDLE = 0.3  # share of the way between two vertices at which Label Studio puts a handle that is missing


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge."""


@dataclass(frozen=True)
class Extent:
    """The box around an object in pixels of its photo, whose size is (height, width).

    outside: share of the object's area that lies outside of the photo.
    """

    box: Box
    size: tuple[int, int]
    outside: float = 0.0

    @property
    def edges(self) -> Box:
        """The box in shares of the photo's width and height."""
        (left, top, right, bottom), (height, width) = self.box, self.size
        return left / width, top / height, right / width, bottom / height


def box_of(polygons: Sequence[Sequence[float]]) -> Box:
    """The box around polygons of x and y in turn."""
    xs, ys = ([value for polygon in polygons for value in polygon[axis::2]] for axis in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def touched_corners(box: Sequence[float]) -> list[float]:
    """The corners of all pixels that a box (left, top, width, height) touches, x and y in turn; of a turned box, its own."""
    if len(box) == 8:
        return list(box)
    left, top, width, height = box
    x, y = floor(left), floor(top)
    return turned_box((x, y, max(0, ceil(left + width) - x), max(0, ceil(top + height) - y)), 0, about=(0, 0))


def turned_box(box: Sequence[float], degrees: float, *, about: Point) -> list[float]:
    """The four corners of a box (left, top, width, height), turned clockwise about a point: x and y in turn."""
    left, top, width, height = box
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    return _turned(list(corners), degrees, about)


def corners_of_box(points: Sequence[Point]) -> list[float]:
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


def turned_ellipse(center: Point, radii: Point, degrees: float = 0.0) -> list[float]:
    """A polygon on an ellipse with these radii along x and y, turned clockwise about its centre: x and y in turn."""
    count = int(min(MOST_CORNERS, max(FEWEST_CORNERS, 2 * pi * hypot(*radii) / LONGEST_CHORD)))
    angles = [2 * pi * index / count for index in range(count)]
    corners = [(center[0] + radii[0] * cos(angle), center[1] + radii[1] * sin(angle)) for angle in angles]
    return _turned(corners, degrees, center)


def bezier_curve(start: Point, handle: Point | None, other_handle: Point | None, end: Point) -> list[Point]:
    """Points on a cubic Bezier curve, the end left out; without handles, the start alone, since the curve is a line."""
    if handle is None and other_handle is None:
        return [start]
    toward = ((end[0] - start[0]) * MISSING_HANDLE, (end[1] - start[1]) * MISSING_HANDLE)
    first = handle or (start[0] + toward[0], start[1] + toward[1])
    second = other_handle or (end[0] - toward[0], end[1] - toward[1])
    length = dist(start, first) + dist(first, second) + dist(second, end)  # not shorter than the curve
    steps = int(min(MOST_STEPS, max(FEWEST_STEPS, ceil(length / LONGEST_CHORD))))
    points: list[Point] = []
    for step in range(steps):
        t = step / steps
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        x, y = (
            sum(weight * point[axis] for weight, point in zip(weights, (start, first, second, end), strict=True))
            for axis in (0, 1)
        )
        points.append((x, y))
    return points


def box_around(points: Sequence[Point], size: tuple[int, int]) -> list[float]:
    """The pixels of an image (height, width) in which an unknown shape with these points lies, as four corners.

    That is the box around three points or more. One of two points may be the centre of a circle through the other, so the box
    is then as far around each as the other is away. Without two points, it is the whole image.
    """
    height, width = size
    if len(points) < 2:
        return [0, 0, width, 0, width, height, 0, height]
    margin = dist(*points) if len(points) == 2 else 0.0
    left, right = (min(width, max(0, edge)) for edge in _edges([x for x, _ in points], margin))
    top, bottom = (min(height, max(0, edge)) for edge in _edges([y for _, y in points], margin))
    return [left, top, right, top, right, bottom, left, bottom]


def _edges(values: Sequence[float], margin: float) -> tuple[int, int]:
    """The first pixel that values and margin touch, and the one after the last."""
    first = floor(min(values) - margin)
    return first, max(first + 1, ceil(max(values) + margin))


def _turned(points: list[Point], degrees: float, about: Point) -> list[float]:
    """The coordinates of points that are turned clockwise about a point; multiples of 90 degrees are exact."""
    return [value for point in affinity.rotate(LineString(points), degrees % 360, about).coords for value in point]
