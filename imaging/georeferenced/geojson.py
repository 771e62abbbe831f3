"""Polygons as GeoJSON (RFC 7946): longitude and latitude on WGS 84, outer rings anticlockwise, cut at the antimeridian."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import IO, Any

import numpy as np
import shapely

from common.arrays import Floats, Geometries, Integers, Mask
from imaging.georeferenced.errors import NoCoordinates, SceneError
from imaging.georeferenced.place import Place
from imaging.polygons import split, to_lists

Feature = dict[str, Any]
PolygonFacts = tuple[shapely.Geometry, Mapping[str, Any]]
"""A polygon or a multipolygon in pixel positions, and its properties."""

DECIMALS = (6, 10)  # fewest and most decimals of degrees
PARTS_OF_A_PIXEL = 100  # positions that are one such part of a pixel apart differ in their decimals
MOST_BEND = 0.1  # pixels between an edge and the straight line in degrees that stands for it
MOST_STEP = 60.0  # degrees of longitude between neighbouring points: below 180, so that the direction around the Earth is known
INSTEAD = "write a .tif or a .gpkg instead"
GRID = 1e-10  # degrees to which unions round their coordinates
POINTS_AT_ONCE = 1 << 15
SAMPLES = 17  # points along a line whose bend is measured
LINES = np.linspace(0, 1, 5)  # positions of such lines, as shares of the raster's height or width


def write_geojson(
    file: IO[str], polygons: Iterable[PolygonFacts], place: Place, facts: Mapping[str, Any] | None = None
) -> None:
    """Writes the document of `feature_collection` feature by feature, so that memory holds few features."""
    members = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in (facts or {}).items())
    file.write(f'{{"type": "FeatureCollection", {members}"features": [')
    for index, feature in enumerate(degree_features(polygons, place)):
        file.write((",\n" if index else "\n") + json.dumps(feature))
    file.write("\n]}\n")


def feature_collection(
    polygons: Iterable[PolygonFacts], place: Place, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The GeoJSON document of polygons in pixel positions. place: of the raster. facts: further members of the document.

    Raises as `degree_features`.
    """
    return {"type": "FeatureCollection", **(facts or {}), "features": list(degree_features(polygons, place))}


def degree_features(polygons: Iterable[PolygonFacts], place: Place) -> Iterator[Feature]:
    """The GeoJSON features of polygons and multipolygons in pixel positions. place: of the raster.

    An edge that is straight in the raster may be bent in degrees. It gets further points, so that the edge in degrees is at
    most `MOST_BEND` pixels off. Raises `NoCoordinates`, and `SceneError` for corners off the Earth.
    """
    decimals, longest = _decimals(place), _longest_straight(place)
    for batch in _batches(polygons):
        geometries = np.array([polygon for polygon, _ in batch], np.object_)
        parts, owners = _in_degrees(shapely.segmentize(geometries, longest), place)
        coordinates = split(to_lists(shapely.orient_polygons(parts), decimals), owners, len(batch))
        for (_, properties), each in zip(batch, coordinates, strict=True):
            kind, lists = ("Polygon", each[0]) if len(each) == 1 else ("MultiPolygon", each)
            yield {"type": "Feature", "properties": dict(properties), "geometry": {"type": kind, "coordinates": lists}}


def _batches(polygons: Iterable[PolygonFacts]) -> Iterator[list[PolygonFacts]]:
    """The polygons in batches, each of which ends once it has `POINTS_AT_ONCE` points."""
    batch: list[PolygonFacts] = []
    point_count = 0
    for each in polygons:
        batch.append(each)
        point_count += shapely.get_num_coordinates(each[0])
        if point_count >= POINTS_AT_ONCE:
            yield batch
            batch, point_count = [], 0
    if batch:
        yield batch


def within_a_turn(geometries: Geometries) -> Geometries:
    """Polygons whose points were moved to degrees, cut at the antimeridian and with their pole. Raises `SceneError`."""
    parts, owners = _whole(*shapely.get_parts(geometries, return_index=True))
    result = np.full(len(geometries), shapely.MultiPolygon(), np.object_)
    shapely.multipolygons(parts, indices=owners, out=result)
    return result


def _in_degrees(geometries: Geometries, place: Place) -> tuple[Geometries, Integers]:
    """Geometries in pixels as polygons in degrees, and for each polygon the index of its geometry, ascending."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    return _whole(shapely.transform(parts, partial(_degrees, place)), owners)


def _whole(parts: Geometries, owners: Integers) -> tuple[Geometries, Integers]:
    """The polygons that polygons of moved points are, and the owner of each one, ascending."""
    west, _, east, _ = shapely.bounds(parts).T
    is_whole = (west >= -180) & (east <= 180) & (east - west < 180)  # no edge crosses the antimeridian
    if is_whole.all():
        return parts, owners
    whole, others = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
    try:
        pieces, piece_owners = _cut_apart(parts[others])
    except shapely.errors.GEOSException as error:
        raise SceneError(f"a polygon at a pole has no outline in degrees; {INSTEAD}") from error
    part_indices = np.append(whole, others[piece_owners])
    order = np.argsort(part_indices, kind="stable")
    return np.append(parts[whole], pieces)[order], owners[part_indices[order]]


def _degrees(place: Place, points: Floats) -> Floats:
    """Longitude and latitude (n, 2) of pixel positions (n, 2). Raises `SceneError` if a position has none."""
    degrees = np.empty_like(points)
    for first in range(0, len(points), POINTS_AT_ONCE):
        part = slice(first, first + POINTS_AT_ONCE)
        try:
            degrees[part] = place.to_degrees(points[part], strict=True)
        except NoCoordinates as error:
            raise SceneError(f"a polygon has a corner that has no longitude and latitude; {INSTEAD}") from error
    return degrees


def _longest_straight(place: Place) -> float:
    """The longest part of an edge, in pixels, that may be one straight line in degrees.

    Measures steps and bends (`_step_and_bend`) on lines along and across the raster. Such a part keeps to `MOST_STEP` and
    `MOST_BEND`.
    """
    height, width = place.size
    shares, longest = np.linspace(0, 1, SAMPLES), math.inf
    lines = [np.column_stack([width * shares, np.full(SAMPLES, height * at)]) for at in LINES]
    lines += [np.column_stack([np.full(SAMPLES, width * at), height * shares]) for at in LINES]
    degrees = np.split(place.to_degrees(np.concatenate(lines)), len(lines))  # some lines may be beyond the projection
    for line, points in zip(lines, degrees, strict=True):
        two_steps = float(np.hypot(*(line[2] - line[0])))  # pixels
        step, bend = _step_and_bend(points)
        by_step = two_steps / 2 * MOST_STEP / step  # the longitude between two points grows with their distance
        # an edge of two steps is off by `bend * two_steps` pixels in its middle; this grows with the square of its length
        by_bend = two_steps * math.sqrt(MOST_BEND / (bend * two_steps))
        longest = min(longest, by_step, by_bend)
    return max(1.0, longest)


def _step_and_bend(points: Floats) -> tuple[float, float]:
    """The largest step and the largest bend of a line of points (n, 2) in degrees. Points that are not finite do not count.

    Step: degrees of longitude from one point to the next. Bend: distance of a point from the straight line between its two
    neighbours, as a share of the length of that line.
    """
    steps = np.diff(points, axis=0)
    steps[:, 0] = (steps[:, 0] + 180) % 360 - 180
    largest_step = np.abs(steps[np.isfinite(steps[:, 0]), 0]).max(initial=1e-9)
    latitudes = points[np.isfinite(points[:, 1]), 1]
    steps[:, 0] *= np.cos(np.radians(latitudes.mean())) if len(latitudes) else 1
    chords, offsets = steps[1:] + steps[:-1], (steps[:-1] - steps[1:]) / 2  # offsets: from the middle of a chord to its point
    # a cross product by the length of the chord is the distance from it; by the square of the length, it is the share
    bends = np.abs(chords[:, 0] * offsets[:, 1] - chords[:, 1] * offsets[:, 0]) / np.maximum((chords**2).sum(1), 1e-18)
    return float(largest_step), float(bends[np.isfinite(bends)].max(initial=1e-9))


def _cut_apart(polygons: Geometries) -> tuple[Geometries, Integers]:
    """Cuts polygons that may cross the antimeridian or go round a pole. The parts, and for each the index of its polygon."""
    rings, owners, goes_round = _unrolled(polygons)
    is_polar = np.isin(owners, owners[goes_round])  # whether a ring is of a polygon with a ring that goes round a pole
    # the indices of the polygons without such a ring, and for each of their rings the position in these indices
    indices, ring_owners = np.unique(owners[~is_polar], return_inverse=True)
    parts, part_owners = _cut(shapely.polygons(rings[~is_polar], indices=ring_owners))
    polar_parts, polar_owners = _cut_polar(rings[is_polar], owners[is_polar])
    return np.append(parts, polar_parts), np.append(indices[part_owners], polar_owners)


def _cut_polar(rings: Geometries, owners: Integers) -> tuple[Geometries, Integers]:
    """Cuts polygons at a pole. The parts, and for each the index of its polygon.

    rings: of `_unrolled`; the first ring of each polygon is its outer one, the others are its holes. owners: for each ring, the
    index of its polygon. Each ring becomes an area of its own, and the areas of the holes are subtracted. One polygon of all
    rings would not do: a hole that holds the pole may reach out of the outer ring.
    """
    indices, ring_owners = np.unique(owners, return_inverse=True)  # as in `_cut_apart`
    areas, area_owners = _cut(shapely.polygons(rings))
    areas = _united(areas, area_owners, len(rings))  # joins parts between which the shift by 360 degrees has rounded a gap
    is_hole = np.diff(ring_owners, prepend=-1) == 0
    pieces, piece_owners = _polygons(areas[is_hole])
    holes = np.full(len(indices), shapely.MultiPolygon(), np.object_)
    shapely.multipolygons(pieces, indices=ring_owners[is_hole][piece_owners], out=holes)
    parts, part_owners = _polygons(shapely.difference(areas[~is_hole], holes))
    return parts, indices[part_owners]


def _unrolled(polygons: Geometries) -> tuple[Geometries, Integers, Mask]:
    """The rings of polygons, the index of each ring's polygon, and whether each ring goes round a pole.

    Where a ring crosses the antimeridian, its longitudes go on beyond 180 degrees. So a ring that goes round a pole would end
    360 degrees from its start. It becomes the outline of an area that holds the pole.
    """
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    starts = np.searchsorted(ring_of_point, np.arange(len(rings)))
    ends = np.append(starts[1:], len(points))
    jumps = np.round(np.diff(points[:, 0], prepend=0) / 360)
    jumps[starts] = 0
    turns = np.cumsum(jumps)
    turns -= turns[starts][ring_of_point]
    points[:, 0] -= 360 * turns
    middles = (np.minimum.reduceat(points[:, 0], starts) + np.maximum.reduceat(points[:, 0], starts)) / 2
    # moves the holes of a polygon by whole turns, to the longitudes of its outer ring; `searchsorted` finds the outer ring,
    # which is the first one of its polygon
    shifts = 360 * np.round((middles[np.searchsorted(owners, owners)] - middles) / 360)
    points[:, 0] += shifts[ring_of_point]
    rings = shapely.linearrings(points, indices=ring_of_point)
    goes_round = turns[ends - 1] != 0
    for index in np.flatnonzero(goes_round):
        rings[index] = _with_pole(points[starts[index] : ends[index]])
    return rings, owners, goes_round


def _with_pole(ring: Floats) -> shapely.LinearRing:
    """The outline of the area between a ring of points (n, 2) around a pole and that pole.

    The outline leaves the ring at the point nearest to the pole, and comes back there, so that it does not cross the ring.
    """
    nearest, turn = int(np.argmax(np.abs(ring[:-1, 1]))), np.array([ring[-1, 0] - ring[0, 0], 0])
    outline = np.concatenate([ring[nearest:-1], ring[: nearest + 1] + turn])
    pole = math.copysign(90, outline[0, 1])
    return shapely.LinearRing(np.concatenate([outline, [[outline[-1, 0], pole], [outline[0, 0], pole]]]))


def _cut(polygons: Geometries) -> tuple[Geometries, Integers]:
    """Cuts polygons at the antimeridian (RFC 7946, section 3.1.9). The parts, and for each the index of its polygon.

    Turn n holds the longitudes from 360 n - 180 to 360 n + 180. The parts of every turn are moved to turn 0.
    """
    west, _, east, _ = shapely.bounds(polygons).T
    # each polygon has longitudes of the turns from `first` to before `end`
    first, end = np.floor((west + 180) / 360).astype(np.int64), np.ceil((east + 180) / 360).astype(np.int64)
    crosses = end - first > 1
    parts, owners = [np.zeros(0, np.object_)], [np.zeros(0, np.int64)]  # not empty, since there may be no polygons
    for turn in np.unique(np.concatenate([*owners, *map(np.arange, first, end)])):
        indices = np.flatnonzero((first <= turn) & (turn < end))
        sections = polygons[indices]
        box = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        sections[crosses[indices]] = shapely.intersection(sections[crosses[indices]], box)
        pieces, piece_owners = _polygons(sections)
        parts.append(shapely.transform(pieces, lambda points, turn=turn: points - [360 * turn, 0]))
        owners.append(indices[piece_owners])
    pieces, piece_owners = np.concatenate(parts), np.concatenate(owners)
    is_cut = crosses[piece_owners]
    # the parts of a polygon that is 360 degrees wide touch once they are in turn 0, and become one
    whole, whole_owners = _polygons(_united(pieces[is_cut], piece_owners[is_cut], len(polygons)))
    return np.append(pieces[~is_cut], whole), np.append(piece_owners[~is_cut], whole_owners)


def _united(geometries: Geometries, owners: Integers, count: int) -> Geometries:
    """For each of `count` polygons, the union of its geometries. owners: for each geometry, the index of its polygon."""
    order, groups = np.argsort(owners, kind="stable"), np.full(count, None, np.object_)
    shapely.geometrycollections(geometries[order], indices=owners[order], out=groups)
    # a row for each polygon, so that each has a union of its own
    result: Geometries = shapely.union_all(groups[:, None], axis=1, grid_size=GRID)
    return result


def _polygons(geometries: Geometries) -> tuple[Geometries, Integers]:
    """The polygons with an area among the parts of geometries, and for each the index of its geometry."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    is_polygon = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)
    return parts[is_polygon], owners[is_polygon]


def _decimals(place: Place) -> int:
    """The number of decimals that positions need in degrees, for `PARTS_OF_A_PIXEL`.

    The finer of longitude and latitude decides: near a pole, a pixel has far more degrees of longitude. Raises `NoCoordinates`.
    """
    height, width = place.size
    corners = place.to_degrees([[width / 2, height / 2], [width / 2 + 1, height / 2], [width / 2, height / 2 + 1]])
    steps = np.abs(np.nan_to_num(corners[1:] - corners[0])).max(0)  # of longitude, and of latitude
    steps = steps[steps > 0]
    if not len(steps):
        return DECIMALS[1]
    return min(max(DECIMALS[0], math.ceil(-math.log10(steps.min() / PARTS_OF_A_PIXEL))), DECIMALS[1])
