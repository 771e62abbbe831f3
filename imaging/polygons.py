"""The regions of a class map as polygons with holes, in image pixels."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import shapely

from imaging.regions import Ids, Integers, Regions, check_borders

FEWEST = 4  # points of a closed ring, the first of them twice
REGIONS_AT_ONCE = 16
MOST_RINGS = 4000  # of a polygon that is simplified with care for its topology
SIDES = 4  # of a pixel: top, right, bottom, left
# of a pixel's side, the middle in half pixels (down, right) from the pixel's upper left corner
MIDDLES = np.array([[0, 1], [1, 2], [2, 1], [1, 0]])
Ring = list[list[float]]
MultiPolygon = list[list[Ring]]
"""Polygons as in GeoJSON: of each, the outer ring, then its holes; rings are closed lists of [x, y]."""


def trace(
    class_map: Ids, ids: Iterable[int], tolerance: float, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[int, shapely.Polygon]]:
    """The regions of these classes as (id, polygon), holes kept, ordered as in `Regions`.

    They are simplified so that no point moves by more than `tolerance` pixels. x runs right and y down from the image's upper
    left corner; the middle of its first pixel is (0.5, 0.5). A ring goes through the middles of the pixel sides that it
    follows, which cuts corners by half a pixel: without simplification, a pixel is inside where its middle is. `check` is
    called for every `REGIONS_AT_ONCE` regions, and ends the work by raising. Raises `AnswerTooLarge` as `Regions` does.
    """
    ids = list(ids)
    regions = Regions(class_map, ids)
    pixels, sides, successors = _borders(class_map, ids)
    order, starts = _rings(successors)
    if not len(starts):
        return
    pixels, sides = pixels[order], sides[order]
    rows, columns = np.divmod(pixels, class_map.shape[1])
    points = (np.column_stack([columns, rows]) * 2 + MIDDLES[sides][:, ::-1]) / 2
    lengths = np.diff(starts, append=len(order))
    areas = np.add.reduceat(_areas(points, starts, lengths), starts)  # above 0 of outer rings, below of holes
    of_region = regions.at(pixels[starts])
    by_region = np.lexsort((areas < 0, of_region))
    bounds = np.searchsorted(of_region[by_region], np.arange(len(regions) + 1))
    for first in range(0, len(regions), REGIONS_AT_ONCE):
        check()
        last = min(first + REGIONS_AT_ONCE, len(regions))
        rings = by_region[bounds[first] : bounds[last]]
        lines = _closed(points, starts[rings], lengths[rings])
        yield from zip(regions.ids[first:last], _simplified(lines, of_region[rings] - first, tolerance), strict=True)


def _borders(class_map: Ids, ids: list[int]) -> tuple[Integers, Integers, Integers]:
    """The pixel sides where regions of these classes end: pixels, sides, and the index of the side that follows each.

    A border is followed clockwise, as seen, with its region to the right. At a corner it turns around its pixel where the next
    pixel ahead is of another class, and else goes on along that one, or the one diagonally ahead where that is of the class.
    """
    height, width = class_map.shape
    flat = np.ascontiguousarray(class_map).reshape(-1)
    beside, below = flat[1:] != flat[:-1], np.flatnonzero(flat[width:] != flat[:-width])
    beside[width - 1 :: width] = False
    check_borders(int(np.count_nonzero(beside)) + len(below), flat.size)
    beside[width - 1 :: width] = True
    right = np.append(np.flatnonzero(beside), flat.size - 1)
    del beside
    shown = np.isin(np.arange(256), ids)
    groups = [
        pixels[shown[flat[pixels]]]
        for pixels in (
            np.concatenate([np.arange(width), below + width]),
            right,
            np.concatenate([below, np.arange(flat.size - width, flat.size)]),
            np.append(0, right[:-1] + 1),
        )
    ]
    firsts = np.cumsum([0, *map(len, groups)])

    def equal(pixels: Integers, rows: int, columns: int) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Whether the pixel so many rows and columns on has the same class, and which it is."""
        row, column = np.divmod(pixels, width)
        row, column = row + rows, column + columns
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        other = np.where(inside, row * width + column, pixels)
        return inside & (flat[other] == flat[pixels]), other

    successors = []
    for side, pixels in enumerate(groups):
        ahead, across = MIDDLES[(side + 1) % SIDES] - 1, MIDDLES[side] - 1
        goes_on, forward = equal(pixels, *ahead.tolist())
        turns_back, diagonal = equal(pixels, *(ahead + across).tolist())
        turns_back &= goes_on
        nexts = (
            (~goes_on, (side + 1) % SIDES, pixels),
            (goes_on & ~turns_back, side, forward),
            (turns_back, (side - 1) % SIDES, diagonal),
        )
        successor = np.empty(len(pixels), np.int64)
        for chosen, next_side, at in nexts:
            successor[chosen] = firsts[next_side] + np.searchsorted(groups[next_side], at[chosen])
        successors.append(successor)
    return np.concatenate(groups), np.repeat(np.arange(SIDES), np.diff(firsts)), np.concatenate(successors)


def _rings(successors: Integers) -> tuple[Integers, Integers]:
    """The cycles of a permutation, one after the other, and where each starts."""
    order, starts, position = array("q", bytes(8 * len(successors))), list[int](), 0
    unseen, following = bytearray(b"\1" * len(successors)), array("q", successors.tobytes())
    at = unseen.find(1)
    while at >= 0:
        starts.append(position)
        while unseen[at]:
            unseen[at] = 0
            order[position] = at
            position += 1
            at = following[at]
        at = unseen.find(1, at)
    return np.asarray(order), np.array(starts, np.int64)


def _areas(points: npt.NDArray[np.float64], starts: Integers, lengths: Integers) -> npt.NDArray[np.float64]:
    """What each point adds to the signed area of its ring."""
    after = np.arange(1, len(points) + 1)
    after[starts + lengths - 1] = starts
    areas: npt.NDArray[np.float64] = (points[:, 0] * points[after, 1] - points[after, 0] * points[:, 1]) / 2
    return areas


def _closed(points: npt.NDArray[np.float64], starts: Integers, lengths: Integers) -> npt.NDArray[np.object_]:
    """Line strings of these rings."""
    indices = np.repeat(np.arange(len(starts)), lengths + 1)
    within = np.arange(len(indices)) - np.repeat(np.cumsum(lengths + 1) - lengths - 1, lengths + 1)
    at = np.repeat(starts, lengths + 1) + within % np.repeat(lengths, lengths + 1)
    lines: npt.NDArray[np.object_] = shapely.linestrings(points[at], indices=indices)
    return lines


def _simplified(lines: npt.NDArray[np.object_], regions: Integers, tolerance: float) -> list[shapely.Polygon]:
    """Polygons of these rings, whose regions are numbered from 0 on, the outer ring of each before its holes.

    Ring by ring (Douglas and Peucker, 1973); a ring that would vanish stays as it is. Where rings would cross, GEOS simplifies
    the polygon with care for its topology. That may also drop the point where a ring starts, up to the tolerance away from a
    line that is as far away again: hence with half of it. It takes time by the square of the rings: of more than
    `MOST_RINGS`, all stay as they are.
    """
    simple = shapely.simplify(lines, tolerance, preserve_topology=False)
    polygons = _polygons(np.where(shapely.get_num_coordinates(simple) < FEWEST, lines, simple), regions)
    crossing = ~shapely.is_valid(polygons)
    if crossing.any():
        chosen = crossing[regions]
        exact = _polygons(lines[chosen], np.unique(regions[chosen], return_inverse=True)[1])
        few = shapely.get_num_interior_rings(exact) < MOST_RINGS
        exact[few] = shapely.simplify(exact[few], tolerance / 2, preserve_topology=True)
        polygons[crossing] = exact
    return list(polygons)


def _polygons(lines: npt.NDArray[np.object_], regions: Integers) -> npt.NDArray[np.object_]:
    """Polygons of these closed lines, of each region the outer one first."""
    points, line_of_point = shapely.get_coordinates(lines, return_index=True)
    polygons: npt.NDArray[np.object_] = shapely.polygons(shapely.linearrings(points, indices=line_of_point), indices=regions)
    return polygons


def to_lists(polygon: shapely.Polygon) -> list[Ring]:
    """The coordinates of a GeoJSON Polygon, rounded to hundredths of a pixel."""
    return [_corners(ring) for ring in (polygon.exterior, *polygon.interiors)]


def _corners(ring: shapely.LinearRing) -> Ring:
    corners: Ring = shapely.get_coordinates(ring).round(2).tolist()
    return corners


def without_holes(polygon: shapely.Polygon, check: Callable[[], None] = lambda: None) -> list[shapely.Polygon]:
    """The polygon in pieces that have no holes, for formats that know outlines alone.

    A piece is cut through the middle of its median hole until none has a hole. `check` is called for each piece.
    """
    whole, cut = [], [polygon]
    while cut:
        check()
        piece = cut.pop()
        if not piece.interiors:
            whole.append(piece)
            continue
        # the median hole, so that as many are on either side: one after the other would take a cut for each
        middles = sorted(shapely.Polygon(ring).centroid.x for ring in piece.interiors)
        x0, y0, x1, y1 = piece.bounds
        middle = middles[len(middles) // 2]
        halves = [piece.intersection(shapely.box(x0, y0, middle, y1)), piece.intersection(shapely.box(middle, y0, x1, y1))]
        cut += [part for half in reversed(halves) for part in reversed(shapely.get_parts(half)) if part.geom_type == "Polygon"]
    return whole
