"""Fills polygons as pycocotools does, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

from imaging.rle import read_counts

Points = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
STEPS = 5  # points of an outline for each pixel of its length, of which pycocotools keeps all in memory, at 16 bytes each
MOST_STEPS = 1 << 24
PARTS = 16  # polygons that are merged at once: merging many one after the other takes time by their square
RIM = 1.0  # pixels around the image in which the borders of clipped polygons lie


def fill(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Integers:
    """The run lengths of the pixels inside any of the polygons, as `imaging.rle.read_counts` gives them.

    polygons: x and y in turn, of three or more points each. size: (height, width). Only a polygon whose outline is too long to
    be held in memory is clipped to the image first; raises `ValueError` if it still is too long.
    """
    parts = []
    for polygon in polygons:
        points = np.array(polygon, np.float64).reshape(-1, 2)
        if _steps(points) > MOST_STEPS:
            points = _clip(points, size)
        if _steps(points) > MOST_STEPS:
            raise ValueError(
                f"a polygon of {len(polygon) // 2} points has an outline of {_steps(points) // STEPS:,} pixels inside its "
                f"image, of which at most {MOST_STEPS // STEPS:,} can be drawn"
            )
        if len(points) > 2:
            parts += run_lengths.frPyObjects([points.ravel().tolist()], *size)
    if not parts:
        return np.array([size[0] * size[1]])
    while len(parts) > 1:
        parts = [run_lengths.merge(parts[start : start + PARTS]) for start in range(0, len(parts), PARTS)]
    return read_counts(parts[0]["counts"].decode(), size)


def _steps(points: Points) -> int:
    """The points that pycocotools makes of an outline."""
    return int(STEPS * np.abs(np.roll(points, -1, axis=0) - points).max(axis=1).sum()) if len(points) else 0


def _clip(points: Points, size: tuple[int, int]) -> Points:
    """The part of a polygon, which may cross itself, that lies inside the image and its rim (Sutherland and Hodgman 1974)."""
    for axis, side in enumerate(size[::-1]):
        for bound, sign in ((-RIM, 1), (side + RIM, -1)):
            inside = sign * (points[:, axis] - bound) >= 0
            following = np.roll(points, -1, axis=0)
            crosses = inside != np.roll(inside, -1)
            lengths = np.where(crosses, following[:, axis] - points[:, axis], 1.0)
            at_bound = points + ((bound - points[:, axis]) / lengths)[:, None] * (following - points)
            at_bound[:, axis] = bound
            points = np.stack([points, at_bound], 1)[np.stack([inside, crosses], 1)]
    return points
