"""Polygons as GeoJSON (RFC 7946): longitude and latitude on WGS 84, outer rings anticlockwise, cut at the antimeridian."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np
import shapely

from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.place import Floats, Place

DECIMALS = (6, 10)  # fewest and most decimals of degrees
PARTS_OF_A_PIXEL = 100  # positions this part of a pixel apart differ in their decimals
MOST_BEND = 0.1  # pixels between a side's straight line in degrees and the side itself
MOST_TURN = 60.0  # degrees of longitude of a side's part, less than half a turn: which way round it goes is then known
INSTEAD = "write a .tif or a .gpkg instead"
GRID = 1e-10  # degrees
SAMPLED = 17  # points along a line whose bend is measured
LINES = np.linspace(0, 1, 5)  # where such lines lie, as shares of the raster's side


class GeoJSONWriter:
    """Writes features one by one, so that it holds none of them. place: of the raster whose pixels the polygons count.

    Raises `NoCoordinates` if the raster does not say where it lies.
    """

    def __init__(self, file: IO[str], place: Place, facts: Mapping[str, Any] | None = None) -> None:
        self._file, self._geometry = file, DegreeGeometry(place)
        self._count = 0
        members = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in (facts or {}).items())
        file.write(f'{{"type": "FeatureCollection", {members}"features": [')

    def add(self, polygon: shapely.Geometry, properties: Mapping[str, Any]) -> None:
        """Adds a polygon or a multipolygon in pixel positions, x then y from the upper left corner."""
        feature = {"type": "Feature", "properties": dict(properties), "geometry": self._geometry(polygon)}
        self._file.write((",\n" if self._count else "\n") + json.dumps(feature))
        self._count += 1

    def close(self) -> None:
        """Ends the document. The file stays open."""
        self._file.write("\n]}\n")


def feature_collection(
    polygons: Iterable[tuple[shapely.Geometry, Mapping[str, Any]]], place: Place, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document of these polygons in pixel positions with their properties. facts: further members of the document."""
    geometry = DegreeGeometry(place)
    features = [
        {"type": "Feature", "properties": dict(properties), "geometry": geometry(polygon)} for polygon, properties in polygons
    ]
    return {"type": "FeatureCollection", **(facts or {}), "features": features}


class DegreeGeometry:
    """Makes GeoJSON geometries of polygons and multipolygons in pixel positions. place: of the raster.

    Sides that are straight in the raster and bent in degrees get points between, so that no point is further off than
    `MOST_BEND`. Raises `NoCoordinates`, and `SceneError` for corners off the Earth.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._decimals = place, _decimals(place)
        self._longest = _longest_straight(place)

    def __call__(self, polygon: shapely.Geometry) -> dict[str, Any]:
        parts: list[shapely.Polygon] = []
        for part in shapely.get_parts(shapely.segmentize(polygon, self._longest)):
            rings = [_unwrapped(self._place.to_degrees(shapely.get_coordinates(ring))) for ring in shapely.get_rings(part)]
            try:
                parts += _around_pole(rings) if any(map(_turns, rings)) else _cut(rings)
            except shapely.errors.GEOSException as error:
                raise SceneError(f"a polygon at a pole has no outline in degrees; {INSTEAD}") from error
        coordinates = [
            [np.round(shapely.get_coordinates(ring), self._decimals).tolist() for ring in shapely.get_rings(part)]
            for part in map(_oriented, parts)
        ]
        if len(coordinates) == 1:
            return {"type": "Polygon", "coordinates": coordinates[0]}
        return {"type": "MultiPolygon", "coordinates": coordinates}


def _longest_straight(place: Place) -> float:
    """How many pixels of a side may become one straight line in degrees: from lines along and across the raster."""
    height, width = place.size
    steps, longest = np.linspace(0, 1, SAMPLED), math.inf
    lines = [np.column_stack([width * steps, np.full(SAMPLED, height * share)]) for share in LINES]
    lines += [np.column_stack([np.full(SAMPLED, width * share), height * steps]) for share in LINES]
    degrees = np.split(place.to_degrees(np.concatenate(lines)), len(lines))  # some lines may be beyond the projection
    for line, points in zip(lines, degrees, strict=True):
        length = float(np.hypot(*(line[2] - line[0])))
        latitudes = points[np.isfinite(points[:, 1]), 1]
        parts = np.diff(points, axis=0)
        parts[:, 0] = (parts[:, 0] + 180) % 360 - 180
        turn = np.abs(parts[np.isfinite(parts[:, 0]), 0]).max(initial=1e-9)
        parts[:, 0] *= np.cos(np.radians(latitudes.mean())) if len(latitudes) else 1
        chords, bends = parts[1:] + parts[:-1], (parts[:-1] - parts[1:]) / 2
        across = np.abs(chords[:, 0] * bends[:, 1] - chords[:, 1] * bends[:, 0]) / np.maximum((chords**2).sum(1), 1e-18)
        bend = float(across[np.isfinite(across)].max(initial=1e-9)) * length
        longest = min(longest, length / 2 * MOST_TURN / turn, length * math.sqrt(MOST_BEND / bend))
    return max(1.0, longest)


def _unwrapped(ring: Floats) -> Floats:
    """The ring with longitudes that do not jump by a turn where it crosses the antimeridian."""
    if not np.isfinite(ring).all():
        raise SceneError(f"a polygon has a corner that has no longitude and latitude; {INSTEAD}")
    result = ring.copy()
    result[:, 0] = np.unwrap(ring[:, 0], period=360)
    return result


def _turns(ring: Floats) -> bool:
    """Whether the ring goes round a pole, and so ends a turn away from its beginning."""
    return bool(abs(ring[-1, 0] - ring[0, 0]) > 180)


def _around_pole(rings: list[Floats]) -> list[shapely.Polygon]:
    """The polygon of these rings, some of which go round a pole: what the first holds, to the pole, without the others."""
    areas = []
    for ring in rings:
        outline = ring
        if _turns(ring):
            nearest = int(np.argmax(np.abs(ring[:-1, 1])))  # from there to the pole, nothing is in the way
            turn = np.array([ring[-1, 0] - ring[0, 0], 0])
            outline = np.concatenate([ring[nearest:-1], ring[: nearest + 1] + turn])
            pole = math.copysign(90, outline[0, 1])
            outline = np.concatenate([outline, [[outline[-1, 0], pole], [outline[0, 0], pole]]])
        areas.append(shapely.union_all(_cut([outline]), grid_size=GRID))  # joins what the shift by a turn has rounded apart
    rest = shapely.difference(areas[0], shapely.union_all(areas[1:]))
    return [part for part in shapely.get_parts(rest) if isinstance(part, shapely.Polygon)]


def _cut(rings: list[Floats]) -> list[shapely.Polygon]:
    """The polygon of these rings, cut where it crosses the antimeridian (RFC 7946, section 3.1.9)."""
    first = rings[0][:, 0].min()
    for ring in rings[1:]:  # the holes of a ring go with it
        ring[:, 0] += 360 * np.round((rings[0][:, 0].mean() - ring[:, 0].mean()) / 360)
    polygon = shapely.Polygon(rings[0], rings[1:])
    turns = range(math.floor((first + 180) / 360), math.ceil((rings[0][:, 0].max() + 180) / 360))
    if len(turns) <= 1:
        return [_shifted(polygon, -360 * turns[0] if turns else 0)]
    pieces: list[shapely.Polygon] = []
    for turn in turns:
        side = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        inside = shapely.get_parts(shapely.intersection(polygon, side))
        pieces += [_shifted(piece, -360 * turn) for piece in inside if isinstance(piece, shapely.Polygon) and piece.area]
    whole = shapely.union_all(pieces, grid_size=GRID)  # pieces of a raster of a whole turn touch
    return [piece for piece in shapely.get_parts(whole) if isinstance(piece, shapely.Polygon)]


def _shifted(polygon: shapely.Polygon, degrees: float) -> shapely.Polygon:
    if not degrees:
        return polygon
    result: shapely.Polygon = shapely.transform(polygon, lambda points: points + np.array([degrees, 0]))
    return result


def _oriented(polygon: shapely.Polygon) -> shapely.Polygon:
    """The polygon with its outer ring anticlockwise and its holes clockwise."""
    result: shapely.Polygon = shapely.orient_polygons(polygon)
    return result


def _decimals(place: Place) -> int:
    """How many decimals tell the corners of pixels apart. Raises `NoCoordinates`."""
    place.require("the scene")
    height, width = place.size
    corners = place.to_degrees([[width / 2, height / 2], [width / 2 + 1, height / 2], [width / 2, height / 2 + 1]])
    steps = np.hypot(*(corners[1:] - corners[0]).T)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    if not len(steps):
        return DECIMALS[1]
    return min(max(DECIMALS[0], math.ceil(-math.log10(steps.min() / PARTS_OF_A_PIXEL))), DECIMALS[1])
