"""Traces regions of a class map as polygons with holes, each alone or with shared borders. Coordinates are image pixels."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import shapely

from imaging.errors import AnswerTooLarge
from imaging.regions import MOST_SHARED_BORDERS, Ids, Integers, Regions, check_borders

FEWEST = 4  # points of the smallest closed ring, whose first point is repeated at its end
REGIONS_AT_ONCE = 16
MOST_RINGS = 4000  # limit for a polygon that is simplified with its topology preserved
SIDES = 4  # of a pixel, numbered: top, right, bottom, left
# the middle of each side, in half pixels (down, right) from the pixel's upper left corner
MIDDLES = np.array([[0, 1], [1, 2], [2, 1], [1, 0]])
T = TypeVar("T")
Ring = list[list[float]]
MultiPolygon = list[list[Ring]]
"""Polygons as in GeoJSON: each is its outer ring, then its holes. A ring is a closed list of [x, y]."""


def trace(class_map: Ids, regions: Regions, tolerance: float) -> Iterator[tuple[int, shapely.Polygon]]:
    """Yields (id, polygon) for each of these regions of the class map, with holes, in their order.

    Polygons are simplified so that no point moves by more than `tolerance` pixels. x runs right and y runs down from the
    image's upper left corner; the middle of the first pixel is (0.5, 0.5). A ring goes through the middles of the pixel sides
    that it follows. This cuts corners by half a pixel, but without simplification the middle of a pixel is inside the polygon
    if and only if the pixel is in the region.
    Raises `AnswerTooLarge` beyond `most_borders`.
    """
    pixels, sides, successors = _borders(class_map, sorted(set(regions.ids)))
    order, starts = _rings(successors)
    if not len(starts):
        return
    pixels, sides = pixels[order], sides[order]
    rows, columns = np.divmod(pixels, class_map.shape[1])
    points = (np.column_stack([columns, rows]) * 2 + MIDDLES[sides][:, ::-1]) / 2
    lengths = np.diff(starts, append=len(order))
    ring_regions = regions.at(pixels[starts])
    by_region = np.argsort(ring_regions, kind="stable")  # the outer ring first: no hole begins before it
    bounds = np.searchsorted(ring_regions[by_region], np.arange(len(regions) + 1))
    for first in range(0, len(regions), REGIONS_AT_ONCE):
        last = min(first + REGIONS_AT_ONCE, len(regions))
        rings = by_region[bounds[first] : bounds[last]]
        lines = _close_rings(points, starts[rings], lengths[rings])
        yield from zip(regions.ids[first:last], _simplify(lines, ring_regions[rings] - first, tolerance), strict=True)


def _borders(class_map: Ids, ids: list[int]) -> tuple[Integers, Integers, Integers]:
    """The pixel sides on the borders of regions of these classes: pixels, side numbers, and the index of each one's successor.

    A border is followed clockwise on screen, so its region lies to the right. What follows a side depends on the pixels ahead:
    if the next pixel is of another class, the border turns to the next side of the same pixel. Otherwise it goes on along
    the next pixel, or turns to the diagonally adjacent pixel if that is of the same class, too.
    """
    height, width = class_map.shape
    flat, right, below = _differences(class_map)
    right = np.union1d(right, np.arange(width - 1, flat.size, width))
    is_outlined = np.isin(np.arange(256), ids)
    groups = [
        pixels[is_outlined[flat[pixels]]]
        for pixels in (
            np.concatenate([np.arange(width), below + width]),
            right,
            np.concatenate([below, np.arange(flat.size - width, flat.size)]),
            np.append(0, right[:-1] + 1),
        )
    ]
    firsts = np.cumsum([0, *map(len, groups)])

    def equal(pixels: Integers, rows: int, columns: int) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Whether the pixel at this offset in rows and columns has the same class, and its index."""
        row, column = np.divmod(pixels, width)
        row, column = row + rows, column + columns
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        neighbours = np.where(inside, row * width + column, pixels)
        return inside & (flat[neighbours] == flat[pixels]), neighbours

    successors = []
    for side, pixels in enumerate(groups):
        ahead, across = MIDDLES[(side + 1) % SIDES] - 1, MIDDLES[side] - 1
        continues, forward = equal(pixels, *ahead.tolist())
        turns_back, diagonal = equal(pixels, *(ahead + across).tolist())
        turns_back &= continues
        nexts = (
            (~continues, (side + 1) % SIDES, pixels),
            (continues & ~turns_back, side, forward),
            (turns_back, (side - 1) % SIDES, diagonal),
        )
        successor = np.empty(len(pixels), np.int64)
        for mask, next_side, next_pixels in nexts:
            successor[mask] = firsts[next_side] + np.searchsorted(groups[next_side], next_pixels[mask])
        successors.append(successor)
    return np.concatenate(groups), np.repeat(np.arange(SIDES), np.diff(firsts)), np.concatenate(successors)


def _differences(class_map: Ids) -> tuple[Ids, Integers, Integers]:
    """The pixels, row by row, and the indices of those that differ from the next one in their row, and from the one below.

    Raises `AnswerTooLarge` beyond `most_borders`.
    """
    width = class_map.shape[1]
    flat = np.ascontiguousarray(class_map).reshape(-1)
    differs, below = flat[1:] != flat[:-1], np.flatnonzero(flat[width:] != flat[:-width])
    differs[width - 1 :: width] = False
    check_borders(int(np.count_nonzero(differs)) + len(below), flat.size)
    return flat, np.flatnonzero(differs), below


def _rings(successors: Integers) -> tuple[Integers, Integers]:
    """The cycles of a permutation, concatenated, and the position where each starts: at its least index, in ascending order."""
    order, starts, position = array("q", bytes(8 * len(successors))), list[int](), 0
    is_open, successor_array = bytearray(b"\1" * len(successors)), array("q", successors.tobytes())
    index = is_open.find(1)
    while index >= 0:
        starts.append(position)
        while is_open[index]:
            is_open[index] = 0
            order[position] = index
            position += 1
            index = successor_array[index]
        index = is_open.find(1, index)
    return np.asarray(order), np.array(starts, np.int64)


def _close_rings(points: npt.NDArray[np.float64], starts: Integers, lengths: Integers) -> npt.NDArray[np.object_]:
    """The rings as closed line strings."""
    indices = np.repeat(np.arange(len(starts)), lengths + 1)
    within = np.arange(len(indices)) - np.repeat(np.cumsum(lengths + 1) - lengths - 1, lengths + 1)
    positions = np.repeat(starts, lengths + 1) + within % np.repeat(lengths, lengths + 1)
    lines: npt.NDArray[np.object_] = shapely.linestrings(points[positions], indices=indices)
    return lines


def _simplify(lines: npt.NDArray[np.object_], regions: Integers, tolerance: float) -> list[shapely.Polygon]:
    """Simplified polygons, one for each region. `regions` numbers each ring's region from 0; outer rings precede their holes.

    Each ring is simplified on its own (Douglas and Peucker, 1973). A ring that would vanish stays as it is. If rings would
    cross, GEOS simplifies the whole polygon and preserves its topology. It may also drop the point where a ring starts, and so
    move the ring by up to twice its tolerance; it is therefore called with half the tolerance. Its time grows with the
    square of the number of rings, so a polygon with `MOST_RINGS` holes or more is not simplified.
    """
    simple = shapely.simplify(lines, tolerance, preserve_topology=False)
    polygons = _polygons(np.where(shapely.get_num_coordinates(simple) < FEWEST, lines, simple), regions)
    has_crossing = ~shapely.is_valid(polygons)
    if has_crossing.any():
        mask = has_crossing[regions]  # of rings
        exact = _polygons(lines[mask], np.unique(regions[mask], return_inverse=True)[1])
        few = shapely.get_num_interior_rings(exact) < MOST_RINGS
        exact[few] = shapely.simplify(exact[few], tolerance / 2, preserve_topology=True)
        polygons[has_crossing] = exact
    return list(polygons)


def _polygons(lines: npt.NDArray[np.object_], regions: Integers) -> npt.NDArray[np.object_]:
    """Polygons of these closed lines, one for each region; the first line of a region is its outer ring."""
    points, line_of_point = shapely.get_coordinates(lines, return_index=True)
    polygons: npt.NDArray[np.object_] = shapely.polygons(shapely.linearrings(points, indices=line_of_point), indices=regions)
    return polygons


def trace_coverage(class_map: Ids, regions: Regions, tolerance: float) -> Iterator[tuple[int, shapely.Polygon]]:
    """Yields (id, polygon) for each of these regions of the class map, with holes, in their order.

    Neighbours have the same points along a common border, so there are no gaps and no overlaps between them; the polygons of
    all regions of all classes cover the image. Borders run along the sides of pixels: x and y are whole numbers. A point is
    removed while the triangle with its two neighbours is smaller than the square of `tolerance` (Visvalingam and Whyatt,
    1993), unless separate borders would touch. Points where three regions meet, and those on the image's edge, stay.
    Raises `AnswerTooLarge` beyond `most_borders` or `MOST_SHARED_BORDERS`.
    """
    polygons = faces(class_map)
    corners, indices = shapely.get_coordinates(polygons, return_index=True)
    order = np.lexsort((corners[:, 0], corners[:, 1], indices))  # the pixel below and right of this corner is in the polygon
    firsts = order[np.searchsorted(indices, np.arange(len(polygons)))]
    columns, rows = corners[firsts].astype(np.int64).T
    of_polygons = regions.at(rows * class_map.shape[1] + columns)
    if tolerance:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    by_region = np.argsort(of_polygons, kind="stable")[np.count_nonzero(of_polygons < 0) :]
    yield from zip(regions.ids, polygons[by_region], strict=True)


def faces(class_map: Ids) -> npt.NDArray[np.object_]:
    """The 4-connected regions of all classes, as polygons along the sides of pixels."""
    height, width = class_map.shape
    _, right, below = _differences(class_map)
    if (borders := len(right) + len(below)) > MOST_SHARED_BORDERS:
        problem = f"the class map has {borders:,} borders between classes; at most {MOST_SHARED_BORDERS:,} are handled"
        raise AnswerTooLarge(f"{problem} with topology=shared; leave it out")
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


def to_lists(polygons: Sequence[shapely.Polygon], decimals: int = 2) -> list[list[Ring]]:
    """The coordinates of a GeoJSON Polygon for each of these, rounded to hundredths of a pixel or to other decimals."""
    rings, owners = shapely.get_rings(polygons, return_index=True)
    corners, ring_of_corner = shapely.get_coordinates(rings, return_index=True)
    ring_lists = split(corners.round(decimals).tolist(), ring_of_corner, len(rings))
    return split(ring_lists, owners, len(polygons))


def split(items: list[T], owners: Integers, count: int) -> list[list[T]]:
    """The items of each of `count` owners. owners: of the items, ascending, counted from 0."""
    bounds = np.searchsorted(owners, np.arange(count + 1)).tolist()
    return [items[first:last] for first, last in pairwise(bounds)]
