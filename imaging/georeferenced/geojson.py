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
PARTS_OF_A_PIXEL = 100  # positions this part of a pixel apart differ in their decimals
MOST_BEND = 0.1  # pixels between a side's straight line in degrees and the side itself
MOST_TURN = 60.0  # degrees of longitude of a side's part, less than half a turn: which way round it goes is then known
INSTEAD = "write a .tif or a .gpkg instead"
GRID = 1e-10  # degrees
POINTS_AT_ONCE = 1 << 15
SAMPLED = 17  # points along a line whose bend is measured
LINES = np.linspace(0, 1, 5)  # where such lines lie, as shares of the raster's side


def write_geojson(
    file: IO[str], polygons: Iterable[PolygonFacts], place: Place, facts: Mapping[str, Any] | None = None
) -> None:
    """Writes the document of `feature_collection`, some features at a time, so that it holds few of them."""
    members = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in (facts or {}).items())
    file.write(f'{{"type": "FeatureCollection", {members}"features": [')
    separator = "\n"
    for feature in degree_features(polygons, place):
        file.write(separator + json.dumps(feature))
        separator = ",\n"
    file.write("\n]}\n")


def feature_collection(
    polygons: Iterable[PolygonFacts], place: Place, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document of these polygons in pixel positions with their properties. facts: further members of the document.

    Raises as `degree_features`.
    """
    return {"type": "FeatureCollection", **(facts or {}), "features": list(degree_features(polygons, place))}


def degree_features(polygons: Iterable[PolygonFacts], place: Place) -> Iterator[Feature]:
    """The GeoJSON features of polygons and multipolygons in pixel positions, made many at once. place: of the raster.

    Sides that are straight in the raster and bent in degrees get points between, so that no point is further off than
    `MOST_BEND`. Raises `NoCoordinates`, and `SceneError` for corners off the Earth.
    """
    decimals, longest = _decimals(place), _longest_straight(place)
    for batch in _batches(polygons):
        parts, owners = _in_degrees(shapely.segmentize(np.array([polygon for polygon, _ in batch], np.object_), longest), place)
        coordinates = split(to_lists(shapely.orient_polygons(parts), decimals), owners, len(batch))
        for (_, properties), each in zip(batch, coordinates, strict=True):
            kind, lists = ("Polygon", each[0]) if len(each) == 1 else ("MultiPolygon", each)
            yield {"type": "Feature", "properties": dict(properties), "geometry": {"type": kind, "coordinates": lists}}


def _batches(polygons: Iterable[PolygonFacts]) -> Iterator[list[PolygonFacts]]:
    """The polygons, as many at once as have `POINTS_AT_ONCE` points together."""
    batch: list[PolygonFacts] = []
    points = 0
    for each in polygons:
        batch.append(each)
        points += shapely.get_num_coordinates(each[0])
        if points >= POINTS_AT_ONCE:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch


def within_a_turn(geometries: Geometries) -> Geometries:
    """Polygons whose points were moved to degrees, cut at the antimeridian and with their pole. Raises `SceneError`."""
    parts, owners = _whole(*shapely.get_parts(geometries, return_index=True))
    result = np.full(len(geometries), shapely.MultiPolygon(), np.object_)
    shapely.multipolygons(parts, indices=owners, out=result)
    return result


def _in_degrees(geometries: Geometries, place: Place) -> tuple[Geometries, Integers]:
    """The polygons in degrees that geometries in pixels become, and the index of each one's geometry, ascending."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    return _whole(shapely.transform(parts, partial(_degrees, place)), owners)


def _whole(parts: Geometries, owners: Integers) -> tuple[Geometries, Integers]:
    """The polygons that polygons of moved points are, and the owner of each one, ascending."""
    west, _, east, _ = shapely.bounds(parts).T
    is_whole = (west >= -180) & (east <= 180) & (east - west < 180)  # no side of it crosses the antimeridian
    if is_whole.all():
        return parts, owners
    whole, others = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
    try:
        pieces, of_pieces = _cut_apart(parts[others])
    except shapely.errors.GEOSException as error:
        raise SceneError(f"a polygon at a pole has no outline in degrees; {INSTEAD}") from error
    of_parts = np.append(whole, others[of_pieces])
    order = np.argsort(of_parts, kind="stable")
    return np.append(parts[whole], pieces)[order], owners[of_parts[order]]


def _degrees(place: Place, points: Floats) -> Floats:
    degrees = np.empty_like(points)
    for first in range(0, len(points), POINTS_AT_ONCE):
        part = slice(first, first + POINTS_AT_ONCE)
        try:
            degrees[part] = place.to_degrees(points[part], strict=True)
        except NoCoordinates as error:
            raise SceneError(f"a polygon has a corner that has no longitude and latitude; {INSTEAD}") from error
    return degrees


def _longest_straight(place: Place) -> float:
    """How many pixels of a side may become one straight line in degrees: from lines along and across the raster."""
    height, width = place.size
    steps, longest = np.linspace(0, 1, SAMPLED), math.inf
    lines = [np.column_stack([width * steps, np.full(SAMPLED, height * share)]) for share in LINES]
    lines += [np.column_stack([np.full(SAMPLED, width * share), height * steps]) for share in LINES]
    degrees = np.split(place.to_degrees(np.concatenate(lines)), len(lines))  # some lines may be beyond the projection
    for line, points in zip(lines, degrees, strict=True):
        two_steps = float(np.hypot(*(line[2] - line[0])))  # pixels
        turn, bend = _turn_and_bend(points)
        by_turn = two_steps / 2 * MOST_TURN / turn  # one step turns by `turn`, and a turn grows with the length of a line
        # the middle of two steps is `bend * two_steps` pixels off, which grows with the square of the length
        by_bend = two_steps * math.sqrt(MOST_BEND / (bend * two_steps))
        longest = min(longest, by_turn, by_bend)
    return max(1.0, longest)


def _turn_and_bend(points: Floats) -> tuple[float, float]:
    """How far a line of points in degrees turns and bends at most; points that are not finite do not count.

    Turn: degrees of longitude from a point to the next. Bend: how far a point is from the straight line between its neighbours,
    as a share of that line.
    """
    steps = np.diff(points, axis=0)
    steps[:, 0] = (steps[:, 0] + 180) % 360 - 180
    turn = np.abs(steps[np.isfinite(steps[:, 0]), 0]).max(initial=1e-9)
    latitudes = points[np.isfinite(points[:, 1]), 1]
    steps[:, 0] *= np.cos(np.radians(latitudes.mean())) if len(latitudes) else 1
    chords, sides = steps[1:] + steps[:-1], (steps[:-1] - steps[1:]) / 2
    bends = np.abs(chords[:, 0] * sides[:, 1] - chords[:, 1] * sides[:, 0]) / np.maximum((chords**2).sum(1), 1e-18)
    return float(turn), float(bends[np.isfinite(bends)].max(initial=1e-9))


def _cut_apart(polygons: Geometries) -> tuple[Geometries, Integers]:
    """The parts of polygons that may cross the antimeridian or go round a pole; and the index of each one's polygon."""
    rings, owners, goes_round = _unrolled(polygons)
    is_polar = np.isin(owners, owners[goes_round])  # of a polygon with such a ring
    indices, of_rings = np.unique(owners[~is_polar], return_inverse=True)
    parts, of_parts = _cut(shapely.polygons(rings[~is_polar], indices=of_rings))
    polar_parts, of_polar_parts = _cut_polar(rings[is_polar], owners[is_polar])
    return np.append(parts, polar_parts), np.append(indices[of_parts], of_polar_parts)


def _cut_polar(rings: Geometries, owners: Integers) -> tuple[Geometries, Integers]:
    """The parts of polygons at a pole, and the index of each one's polygon: what its first ring holds and its others do not.

    rings: of `_unrolled`, each with its polygon (`owners`). A hole that holds the pole may reach out of the first ring.
    """
    indices, of_rings = np.unique(owners, return_inverse=True)
    areas, of_areas = _cut(shapely.polygons(rings))
    areas = _united(areas, of_areas, len(rings))  # joins what the shift by a turn has rounded apart
    is_hole = np.diff(of_rings, prepend=-1) == 0
    pieces, of_pieces = _polygons(areas[is_hole])
    holes = np.full(len(indices), shapely.MultiPolygon(), np.object_)
    shapely.multipolygons(pieces, indices=of_rings[is_hole][of_pieces], out=holes)
    parts, of_parts = _polygons(shapely.difference(areas[~is_hole], holes))
    return parts, indices[of_parts]


def _unrolled(polygons: Geometries) -> tuple[Geometries, Integers, Mask]:
    """The rings of polygons, with longitudes that do not jump by a turn where they cross the antimeridian.

    Also the index of each ring's polygon, and whether the ring goes round a pole, and so would end a turn away from its
    beginning: such a ring holds the pole instead.
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
    shifts = 360 * np.round((middles[np.searchsorted(owners, owners)] - middles) / 360)  # the holes of a ring go with it
    points[:, 0] += shifts[ring_of_point]
    rings = shapely.linearrings(points, indices=ring_of_point)
    goes_round = turns[ends - 1] != 0
    for index in np.flatnonzero(goes_round):
        rings[index] = _with_pole(points[starts[index] : ends[index]])
    return rings, owners, goes_round


def _with_pole(ring: Floats) -> shapely.LinearRing:
    """The outline of what a ring round a pole holds, which goes to the pole and back where nothing is in the way."""
    nearest, turn = int(np.argmax(np.abs(ring[:-1, 1]))), np.array([ring[-1, 0] - ring[0, 0], 0])
    outline = np.concatenate([ring[nearest:-1], ring[: nearest + 1] + turn])
    pole = math.copysign(90, outline[0, 1])
    return shapely.LinearRing(np.concatenate([outline, [[outline[-1, 0], pole], [outline[0, 0], pole]]]))


def _cut(polygons: Geometries) -> tuple[Geometries, Integers]:
    """The parts of polygons, cut at the antimeridian (RFC 7946, section 3.1.9), and the index of each one's polygon."""
    west, _, east, _ = shapely.bounds(polygons).T
    first, last = np.floor((west + 180) / 360).astype(np.int64), np.ceil((east + 180) / 360).astype(np.int64)
    crosses = last - first > 1
    parts, owners = [np.zeros(0, np.object_)], [np.zeros(0, np.int64)]
    for turn in np.unique(np.concatenate([*owners, *map(np.arange, first, last)])):
        at = np.flatnonzero((first <= turn) & (turn < last))
        sides = polygons[at]
        box = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        sides[crosses[at]] = shapely.intersection(sides[crosses[at]], box)
        pieces, of_pieces = _polygons(sides)
        parts.append(shapely.transform(pieces, lambda points, turn=turn: points - [360 * turn, 0]))
        owners.append(at[of_pieces])
    pieces, of_pieces = np.concatenate(parts), np.concatenate(owners)
    is_cut = crosses[of_pieces]
    whole, of_whole = _polygons(_united(pieces[is_cut], of_pieces[is_cut], len(polygons)))  # those of a whole turn touch
    return np.append(pieces[~is_cut], whole), np.append(of_pieces[~is_cut], of_whole)


def _united(geometries: Geometries, owners: Integers, count: int) -> Geometries:
    """For each of `count` owners the union of its geometries."""
    order, groups = np.argsort(owners, kind="stable"), np.full(count, None, np.object_)
    shapely.geometrycollections(geometries[order], indices=owners[order], out=groups)
    result: Geometries = shapely.union_all(groups[:, None], axis=1, grid_size=GRID)
    return result


def _polygons(geometries: Geometries) -> tuple[Geometries, Integers]:
    """The polygons with an area among the parts of geometries, and the index of each one's geometry."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    is_polygon = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)
    return parts[is_polygon], owners[is_polygon]


def _decimals(place: Place) -> int:
    """How many decimals tell the corners of pixels apart, also by latitude alone: near a pole longitude is far coarser.

    Raises `NoCoordinates`.
    """
    height, width = place.size
    corners = place.to_degrees([[width / 2, height / 2], [width / 2 + 1, height / 2], [width / 2, height / 2 + 1]])
    steps = np.abs(np.nan_to_num(corners[1:] - corners[0])).max(0)  # of longitude, and of latitude
    steps = steps[steps > 0]
    if not len(steps):
        return DECIMALS[1]
    return min(max(DECIMALS[0], math.ceil(-math.log10(steps.min() / PARTS_OF_A_PIXEL))), DECIMALS[1])
