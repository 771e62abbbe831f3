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

DECIMALS = (6, 10)  # of degrees: fewest and most
PARTS_OF_A_PIXEL = 100  # that coordinates tell apart, at least


class GeoJSONWriter:
    """Writes features one by one, so that it holds none of them. place: of the raster whose pixels the polygons count.

    Raises `NoCoordinates` if the raster does not say where it lies.
    """

    def __init__(self, file: IO[str], place: Place, facts: Mapping[str, Any] | None = None) -> None:
        self._file, self._place = file, place
        self._decimals = _decimals(place)
        self._count = 0
        members = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in (facts or {}).items())
        file.write(f'{{"type": "FeatureCollection", {members}"features": [')

    def add(self, polygon: shapely.Geometry, properties: Mapping[str, Any]) -> None:
        """Adds a polygon or a multipolygon in pixel positions, x then y from the upper left corner."""
        geometry = geometry_in_degrees(polygon, self._place, self._decimals)
        feature = {"type": "Feature", "properties": dict(properties), "geometry": geometry}
        self._file.write((",\n" if self._count else "\n") + json.dumps(feature))
        self._count += 1

    def close(self) -> None:
        """Ends the document. The file stays open."""
        self._file.write("\n]}\n")


def feature_collection(
    polygons: Iterable[tuple[shapely.Geometry, Mapping[str, Any]]], place: Place, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document of these polygons in pixel positions with their properties. facts: further members of the document."""
    decimals = _decimals(place)
    features = [
        {"type": "Feature", "properties": dict(properties), "geometry": geometry_in_degrees(polygon, place, decimals)}
        for polygon, properties in polygons
    ]
    return {"type": "FeatureCollection", **(facts or {}), "features": features}


def geometry_in_degrees(polygon: shapely.Geometry, place: Place, decimals: int = DECIMALS[1]) -> dict[str, Any]:
    """The GeoJSON geometry of a polygon or multipolygon in pixel positions. Raises `SceneError` for corners off the Earth."""
    parts = []
    for part in shapely.get_parts(polygon):
        parts += _cut([_unwrapped(place.to_degrees(shapely.get_coordinates(ring))) for ring in shapely.get_rings(part)])
    coordinates = [
        [np.round(shapely.get_coordinates(ring), decimals).tolist() for ring in shapely.get_rings(part)]
        for part in map(_oriented, parts)
    ]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _unwrapped(ring: Floats) -> Floats:
    """The ring with longitudes that do not jump by a turn where it crosses the antimeridian."""
    if not np.isfinite(ring).all():
        raise SceneError("a polygon has a corner that has no longitude and latitude; write a .tif or a .gpkg instead")
    result = ring.copy()
    result[:, 0] = np.unwrap(ring[:, 0], period=360)
    return result


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
    return pieces


def _shifted(polygon: shapely.Polygon, degrees: float) -> shapely.Polygon:
    if not degrees:
        return polygon
    moved: shapely.Polygon = shapely.transform(polygon, lambda points: points + np.array([degrees, 0]))
    return moved


def _oriented(polygon: shapely.Polygon) -> shapely.Polygon:
    """The polygon with its outer ring anticlockwise and its holes clockwise."""
    oriented: shapely.Polygon = shapely.orient_polygons(polygon)
    return oriented


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
