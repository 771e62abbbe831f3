"""Traces the regions of a class map as polygons that share their borders. Coordinates are in image pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import shapely

from imaging.errors import AnswerTooLarge
from imaging.regions import MOST_SHARED_BORDERS, Ids, Integers, Regions, check_borders


def trace_coverage(class_map: Ids, regions: Regions, tolerance: float) -> Iterator[tuple[int, shapely.Polygon]]:
    """Yields (id, polygon) for each of these regions of the class map, with holes, in their order.

    Neighbours have the same points along a common border, so there are no gaps and no overlaps between them; the polygons of
    all regions of all classes cover the image. Borders run along the sides of pixels: x and y are whole numbers. A point is
    removed while the triangle with its two neighbours is smaller than the square of `tolerance` (Visvalingam and Whyatt,
    1993), unless separate borders would touch. Points where three regions meet, and those on the image's edge, stay.
    Raises `AnswerTooLarge` beyond `most_borders` or `MOST_SHARED_BORDERS`.
    """
    polygons = _faces(class_map)
    corners, indices = shapely.get_coordinates(polygons, return_index=True)
    order = np.lexsort((corners[:, 0], corners[:, 1], indices))  # the pixel below and right of this corner is in the polygon
    firsts = order[np.searchsorted(indices, np.arange(len(polygons)))]
    columns, rows = corners[firsts].astype(np.int64).T
    of_polygons = regions.at(rows * class_map.shape[1] + columns)
    if tolerance:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    by_region = np.argsort(of_polygons, kind="stable")[np.count_nonzero(of_polygons < 0) :]
    yield from zip(regions.ids, polygons[by_region], strict=True)


def _faces(class_map: Ids) -> npt.NDArray[np.object_]:
    """The 4-connected regions of all classes, as polygons along the sides of pixels."""
    height, width = class_map.shape
    flat = np.ascontiguousarray(class_map).reshape(-1)
    below = np.flatnonzero(flat[width:] != flat[:-width])
    differs_right = flat[1:] != flat[:-1]
    differs_right[width - 1 :: width] = False
    borders = int(np.count_nonzero(differs_right)) + len(below)
    check_borders(borders, flat.size)
    if borders > MOST_SHARED_BORDERS:
        problem = f"the class map has {borders:,} borders between classes; at most {MOST_SHARED_BORDERS:,} are handled"
        raise AnswerTooLarge(f"{problem} with topology=shared; leave it out")
    right = np.flatnonzero(differs_right)
    del differs_right
    # where unit sides begin, those of the image's edge too: horizontal ones at their left end, vertical ones at their top end
    top, left = np.arange(width), np.arange(height)
    rows, columns = np.divmod(np.concatenate([top, below + width, top + height * width]), width)
    side_rows, side_columns = right // width, right % width + 1
    side_rows = np.concatenate([left, side_rows, left])
    side_columns = np.concatenate([0 * left, side_columns, 0 * left + width])
    horizontal = _straight(rows, columns, np.append(side_rows, side_rows + 1), np.append(side_columns, side_columns))
    vertical = _straight(side_columns, side_rows, np.append(columns, columns + 1), np.append(rows, rows))
    lines = shapely.linestrings(np.concatenate([horizontal[:, :, ::-1], vertical]).astype(np.float64))
    faces: npt.NDArray[np.object_] = shapely.get_parts(shapely.polygonize(lines))
    return faces


def _straight(lines: Integers, begins: Integers, crossing_lines: Integers, crossings: Integers) -> Integers:
    """Joins unit sides along lines of the pixel grid, up to where other sides meet them.

    lines, begins: each side's line, and the position on it where the side begins. crossing_lines, crossings: points on these
    lines that sides of the other direction touch. Returns (N, 2, 2): of each joined side the two ends, as (line, position).
    """
    stride = int(max(begins.max(), crossings.max())) + 2
    sides = np.sort(lines * stride + begins)
    is_first = (np.diff(sides, prepend=-2) != 1) | np.isin(sides, crossing_lines * stride + crossings)
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(sides)) - 1
    line, begin = np.divmod(sides[first], stride)
    return np.stack([np.column_stack([line, begin]), np.column_stack([line, begin + last - first + 1])], 1)
