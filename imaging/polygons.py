"""Traces regions of a class map as polygons with holes, each alone or with shared borders. Coordinates are image pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import shapely

from imaging.errors import AnswerTooLarge
from imaging.objects import ObjectFinder
from imaging.regions import MOST_SHARED_BORDERS, Ids, Integers, Regions, check_borders

FEWEST = 4  # points of the smallest closed ring, whose first point is repeated at its end
REGIONS_AT_ONCE = 16
MOST_RINGS = 4000  # limit for a polygon that is simplified with its topology preserved
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
    check_borders(_count_borders(class_map), class_map.size)
    polygons = _outlines(class_map, set(regions.ids), valid=False)
    polygons = shapely.orient_polygons(polygons[np.argsort(_regions_of(polygons, regions))], exterior_cw=False)
    for first in range(0, len(regions), REGIONS_AT_ONCE):
        batch = polygons[first : first + REGIONS_AT_ONCE]
        rings, owners = shapely.get_rings(batch, return_index=True)
        corners, of_ring = shapely.get_coordinates(shapely.segmentize(rings, 1), return_index=True)
        is_side = of_ring[1:] == of_ring[:-1]
        middles = np.rint(corners[1:] + corners[:-1])[is_side] / 2
        closed, of_ring = shapely.get_coordinates(shapely.linearrings(middles, indices=of_ring[1:][is_side]), return_index=True)
        simple = _simplify(shapely.linestrings(closed, indices=of_ring), owners, tolerance)
        yield from zip(regions.ids[first : first + REGIONS_AT_ONCE], simple, strict=True)


def _outlines(class_map: Ids, ids: Collection[int], *, valid: bool) -> npt.NDArray[np.object_]:
    """The 4-connected regions of these classes, as polygons along the sides of pixels, as `ObjectFinder` makes them."""
    finder = ObjectFinder(class_map.shape[1], ids, with_nodes=valid, valid=valid)
    objects = chain(finder.add(class_map, np.ones((len(class_map), 1))), finder.finish())
    return np.array([each.polygon for each in objects], np.object_)


def _regions_of(polygons: npt.NDArray[np.object_], regions: Regions) -> Integers:
    """The index of the region that each polygon of `_outlines` is; -1 for one of another class."""
    columns, rows = shapely.get_coordinates(shapely.get_point(shapely.get_exterior_ring(polygons), 0)).astype(np.int64).T
    return regions.at(rows * regions.width + columns)


def _count_borders(class_map: Ids) -> int:
    return int(np.count_nonzero(class_map[1:] != class_map[:-1]) + np.count_nonzero(class_map[:, 1:] != class_map[:, :-1]))


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
    of_polygons = _regions_of(polygons, regions)
    if tolerance:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    by_region = np.argsort(of_polygons, kind="stable")[np.count_nonzero(of_polygons < 0) :]
    yield from zip(regions.ids, polygons[by_region], strict=True)


def faces(class_map: Ids) -> npt.NDArray[np.object_]:
    """The 4-connected regions of all classes, as polygons along the sides of pixels. Neighbours have the same points."""
    check_borders(borders := _count_borders(class_map), class_map.size)
    if borders > MOST_SHARED_BORDERS:
        problem = f"the class map has {borders:,} borders between classes; at most {MOST_SHARED_BORDERS:,} are handled"
        raise AnswerTooLarge(f"{problem} with topology=shared; leave it out")
    return _outlines(class_map, range(256), valid=True)


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
