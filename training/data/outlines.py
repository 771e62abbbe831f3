"""Outlines of boxes and ellipses that are turned: x and y in turn, in pixels, x to the right and y down."""

from __future__ import annotations

from math import cos, hypot, pi, radians, sin

Point = tuple[float, float]
LONGEST_CHORD = 2.0  # pixels between neighbouring corners of an ellipse's polygon
FEWEST_CORNERS, MOST_CORNERS = 64, 720
RIGHT_ANGLES = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))  # cosine and sine


def turned_box(box: tuple[float, float, float, float], degrees: float, *, about: Point) -> list[float]:
    """The four corners of a box (left, top, width, height), turned clockwise about a point."""
    left, top, width, height = box
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    return _turned(list(corners), degrees, about)


def turned_ellipse(center: Point, radii: Point, degrees: float = 0.0) -> list[float]:
    """A polygon whose corners lie on an ellipse with these radii along x and y, turned clockwise about its centre."""
    count = min(MOST_CORNERS, max(FEWEST_CORNERS, int(2 * pi * hypot(*radii) / LONGEST_CHORD)))
    angles = [2 * pi * index / count for index in range(count)]
    corners = [(center[0] + radii[0] * cos(angle), center[1] + radii[1] * sin(angle)) for angle in angles]
    return _turned(corners, degrees, center)


def _turned(points: list[Point], degrees: float, about: Point) -> list[float]:
    """Multiples of 90 degrees are exact."""
    steps, rest = divmod(degrees, 90)
    cosine, sine = (cos(radians(degrees)), sin(radians(degrees))) if rest else RIGHT_ANGLES[int(steps) % 4]
    turned: list[float] = []
    for x, y in points:
        right, down = x - about[0], y - about[1]
        turned += (about[0] + right * cosine - down * sine, about[1] + right * sine + down * cosine)
    return turned
