"""Traces regions of a class map as polygons with holes, each alone or with shared borders. Coordinates are image pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import shapely

from common.arrays import Floats, Geometries, Ids, Integers
from imaging.errors import AnswerTooLarge
from imaging.objects import MapObject, ObjectFinder, Part
from imaging.regions import MOST_SHARED_BORDERS, Regions, check_borders, most_regions
from imaging.runs import column_runs

FEWEST = 4  # points of the smallest closed ring, whose first point is repeated at its end
REGIONS_AT_ONCE = 16
MOST_RINGS = 4000  # limit for a polygon that is simplified with its topology preserved
T = TypeVar("T")
Ring = list[list[float]]
MultiPolygon = list[list[Ring]]
"""Polygons as in GeoJSON: each is its outer ring, then its holes. A ring is a closed list of [x, y]."""


def trace(
    class_map: Ids, ids: Collection[int], tolerance: float, *, shares_borders: bool = False,
    parts: Iterable[Part] | None = None, is_share: bool = False,
) -> Iterator[MapObject]:  # fmt: skip
    """Yields the regions of these classes, with holes, by class id, then by first pixel in COCO's order.

    x runs right and y runs down from the image's upper left corner; the middle of the first pixel is (0.5, 0.5). parts: the
    rows of the class map with areas and confidences, if they are wanted.

    Each polygon is simplified so that no point moves by more than `tolerance` pixels. A ring goes through the middles of the
    pixel sides that it follows. This cuts corners by half a pixel, but without simplification the middle of a pixel is inside
    the polygon if and only if the pixel is in the region. is_share: `tolerance` is a share of the length of the region's outer
    ring instead; not with shared borders.

    shares_borders: neighbours have the same points along a common border instead, so there are no gaps and no overlaps between
    them; the polygons of all regions of all classes cover the image. Borders run along the sides of pixels: x and y are whole
    numbers. A point is removed while the triangle with its two neighbours is smaller than the square of `tolerance`
    (Visvalingam and Whyatt, 1993), unless separate borders would touch. Points where three regions meet, and those on the
    image's edge, stay.

    Raises `AnswerTooLarge` beyond `most_borders` or `most_regions`, and for shared borders beyond `MOST_SHARED_BORDERS`.
    """
    id_set = set(ids)
    if _count_borders(class_map, shares_borders=shares_borders) >= most_regions(class_map.size):  # each region more takes one
        Regions(column_runs(class_map), id_set)  # raises for too many, before any polygon
    objects = list(_objects(class_map, range(256) if shares_borders else id_set, parts, shares_borders=shares_borders))
    polygons = np.array([each.polygon for each in objects], np.object_)
    order = [index for index in _in_order(objects, polygons) if objects[index].id in id_set]
    if shares_borders and tolerance:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    simple = iter(polygons[order]) if shares_borders else _traced_alone(polygons[order], tolerance, is_share=is_share)
    for index, polygon in zip(order, simple, strict=True):
        yield replace(objects[index], polygon=polygon)


def _traced_alone(polygons: Geometries, tolerance: float, *, is_share: bool) -> Iterator[shapely.Polygon]:
    """Polygons along the sides of pixels through the middles of these sides instead, simplified each for itself."""
    polygons = shapely.orient_polygons(polygons, exterior_cw=False)
    for first in range(0, len(polygons), REGIONS_AT_ONCE):
        some = polygons[first : first + REGIONS_AT_ONCE]
        rings, owners = shapely.get_rings(some, return_index=True)
        corners, of_ring = shapely.get_coordinates(shapely.segmentize(rings, 1), return_index=True)
        is_side = of_ring[1:] == of_ring[:-1]
        middles = np.rint(corners[1:] + corners[:-1])[is_side] / 2
        points, of_ring = shapely.get_coordinates(shapely.linearrings(middles, indices=of_ring[1:][is_side]), return_index=True)
        lengths = shapely.length(shapely.get_exterior_ring(some)) if is_share else np.ones(len(some))
        yield from simplify(shapely.linestrings(points, indices=of_ring), owners, tolerance * lengths)


def faces(class_map: Ids) -> Geometries:
    """The 4-connected regions of all classes, as polygons along the sides of pixels. Neighbours have the same points."""
    _count_borders(class_map, shares_borders=True)
    return np.array([each.polygon for each in _objects(class_map, range(256), shares_borders=True)], np.object_)


def _count_borders(class_map: Ids, *, shares_borders: bool) -> int:
    """The borders of the class map. Raises `AnswerTooLarge` for more than are handled."""
    borders = 0
    for one, other in ((class_map[1:], class_map[:-1]), (class_map[:, 1:], class_map[:, :-1])):
        borders += int(np.count_nonzero(one != other))
        check_borders(borders, class_map.size)
    if shares_borders and borders > MOST_SHARED_BORDERS:
        problem = f"the class map has {borders:,} borders between classes; at most {MOST_SHARED_BORDERS:,} are handled"
        raise AnswerTooLarge(f"{problem} with topology=shared; leave it out")
    return borders


def _objects(
    class_map: Ids, ids: Collection[int], parts: Iterable[Part] | None = None, *, shares_borders: bool
) -> Iterator[MapObject]:
    """The 4-connected regions of these classes, with polygons along the sides of pixels, as `ObjectFinder` makes them."""
    finder = ObjectFinder(class_map.shape[1], ids, with_nodes=shares_borders, valid=shares_borders)
    for part in parts or [(class_map, np.ones((len(class_map), 1)), None)]:
        yield from finder.add(*part)
    yield from finder.finish()


def _in_order(objects: Sequence[MapObject], polygons: Geometries) -> Iterable[int]:
    """The indices of the objects by class id, then by first pixel in COCO's order: the upper left corner of each is of it."""
    corners, owners = shapely.get_coordinates(shapely.get_exterior_ring(polygons), return_index=True)
    ids = np.array([each.id for each in objects], np.int64)
    return dict.fromkeys(owners[np.lexsort((corners[:, 1], corners[:, 0], ids[owners]))].tolist())


def simplify(
    lines: Geometries, regions: Integers, tolerance: float | Floats, *, keeps_holes: bool = True
) -> list[shapely.Polygon]:
    """Simplified polygons, one for each region. `regions` numbers each ring's region from 0; outer rings precede their holes.

    tolerance: in pixels, of all regions or of each.

    Each ring is simplified on its own (Douglas and Peucker, 1973). A ring that would vanish stays as it is; a hole only with
    `keeps_holes`. If rings would cross, GEOS simplifies the whole polygon and preserves its topology. It may also drop the
    point where a ring starts, and so move the ring by up to twice its tolerance; it is therefore called with half the
    tolerance. Its time grows with the square of the number of rings, so a polygon with `MOST_RINGS` holes or more is not
    simplified.
    """
    tolerances = np.broadcast_to(tolerance, regions[-1] + 1)
    simple = shapely.simplify(lines, tolerances[regions], preserve_topology=False)
    is_lost = shapely.get_num_coordinates(simple) < FEWEST
    simple[is_lost] = lines[is_lost]
    stays = keeps_holes | ~is_lost | (np.diff(regions, prepend=-1) > 0)
    polygons = _polygons(simple[stays], regions[stays])
    has_crossing = ~shapely.is_valid(polygons)
    if has_crossing.any():
        mask = has_crossing[regions]  # of rings
        exact = _polygons(lines[mask], np.unique(regions[mask], return_inverse=True)[1])
        few = shapely.get_num_interior_rings(exact) < MOST_RINGS
        exact[few] = shapely.simplify(exact[few], tolerances[has_crossing][few] / 2, preserve_topology=True)
        polygons[has_crossing] = exact
    return list(polygons)


def _polygons(lines: Geometries, regions: Integers) -> Geometries:
    """Polygons of these closed lines, one for each region; the first line of a region is its outer ring."""
    points, line_of_point = shapely.get_coordinates(lines, return_index=True)
    polygons: Geometries = shapely.polygons(shapely.linearrings(points, indices=line_of_point), indices=regions)
    return polygons


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
