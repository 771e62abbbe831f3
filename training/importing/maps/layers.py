"""Reads polygons and their classes from a vector file of a GIS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from common.arrays import Geometries
from imaging.classes import VOID
from imaging.georeferenced import vectors
from imaging.georeferenced.errors import VectorError
from imaging.georeferenced.place import Place, system_name
from imaging.georeferenced.vectors import Burner, Features, System
from model.labels import LabelError
from training.data.label_files import class_name
from training.data.problems import DataError, first_names
from training.importing.omissions import NO_AREA, Omissions

POLYGONS = ("Polygon", "MultiPolygon")
POLYGON = shapely.GeometryType.POLYGON
MOST_PLACES = 4  # of a layer and scenes that a message says
LONGEST_REASON = 100  # letters of what is wrong with a polygon
INVALID = "invalid polygons (in QGIS, Processing > Fix geometries repairs them)"


@dataclass(frozen=True)
class Layer:
    """The polygons of a layer, in its coordinate system.

    name: the file and the layer, for messages. features: the polygons' numbers in the file. classes: their names; None for
    polygons that become void, since they cannot be read.
    """

    name: str
    crs: System
    polygons: Geometries
    features: list[int]
    classes: list[str | None]

    def burner(self, place: Place, ids: dict[str, int]) -> tuple[Burner, list[int]]:
        """What burns the polygons into a scene, and the indices of those on it. ids: of the classes, by name."""
        try:
            indices, polygons = vectors.polygons_in_pixels(self.polygons, self.crs, place)
        except VectorError as error:
            raise DataError(f"{self.name}: {error}") from error
        names = [self.classes[index] for index in indices]
        values = [VOID if name is None else ids[name] for name in names]
        burner = Burner(polygons, values, [name is None for name in names])
        height, width = place.size
        return burner, indices[shapely.intersects(polygons, shapely.box(0, 0, width, height))].tolist()

    def places(self, scenes: Mapping[str, Place], indices: Sequence[int] | None = None) -> str:
        """Where its polygons and the first scenes lie in its coordinate system, in words. scenes: their places by name.

        indices: of the polygons; None for all.
        """
        boxes = [("its polygons", shapely.total_bounds(self.polygons if indices is None else self.polygons[indices]))]
        boxes += [(name, vectors.bounds(place, self.crs)) for name, place in scenes.items()]
        words = [f"{name} at x {box[0]:.9g} to {box[2]:.9g}, y {box[1]:.9g} to {box[3]:.9g}" for name, box in boxes]
        return f"{self.name}, in {system_name(self.crs)}: {first_names(words, MOST_PLACES)}"


def read_layer(path: Path, layer: str | None, field: str | None, omissions: Omissions) -> Layer:
    """The polygons of a layer. layer: its name; not needed if the file has only one with geometries.

    field: the attribute that holds the class; without one, the class is an empty text, as for the area that is labelled.
    omissions: counts polygons without a class and invalid ones; its errors must end the import. Raises `VectorError` for a
    file, layer or field that cannot be read, and `DataError` for points and lines, and for a layer without polygons.
    """
    features = vectors.read_features(path, layer, field)
    name = f"{path}, layer {features.layer}"
    if features.encoding:
        cpg = path.with_suffix(".cpg").name
        omissions.tell(f"shapefiles are not in UTF-8, but {features.encoding}; if names are wrong, write another into {cpg}")
    for index in np.flatnonzero(shapely.get_type_id(features.geometries) == shapely.GeometryType.GEOMETRYCOLLECTION):
        features.geometries[index] = _polygons_of(features.geometries[index], omissions)
    _require_polygons(name, features)
    is_missing = shapely.is_missing(features.geometries)
    is_empty = ~features.has_geometry | (shapely.is_empty(features.geometries) & ~is_missing)
    if is_empty.all():
        raise DataError(f"{name} has no polygons: its {len(is_empty)} features have no outline")
    omissions.tell("features have no outline and are left out", int(is_empty.sum()))
    indices = np.flatnonzero(~is_empty).tolist()
    polygons, numbers = features.geometries[indices], [features.numbers[index] for index in indices]
    classes: list[str | None] = [""] * len(indices)
    if field is not None:
        classes = [_class(features.values[index], f"{name}: feature {features.numbers[index]}") for index in indices]
    for number, label in zip(numbers, classes, strict=True):
        if label is None:
            omissions.add_unknown(f"polygons without a value of {field!r}", name, f"feature {number}")
    _repair(name, polygons, numbers, classes, omissions)
    return Layer(name, features.crs, polygons, numbers, classes)


def _polygons_of(collection: shapely.GeometryCollection, omissions: Omissions) -> shapely.Geometry:
    """The polygons of a collection as one geometry, or the collection if it has none; counts its other members."""
    parts = shapely.get_parts(collection)
    while (shapely.get_type_id(parts) > POLYGON).any():  # those with parts of their own
        parts = shapely.get_parts(parts)
    polygons = parts[shapely.get_type_id(parts) == POLYGON]
    if not len(polygons):
        return collection
    for part in parts[shapely.get_type_id(parts) < POLYGON]:
        omissions.tell(f"members of collections that are {part.geom_type}s {NO_AREA}")
    if shapely.is_valid(polygons).all():  # they may share edges, as those of a repaired polygon do
        return shapely.union_all(polygons)
    return shapely.multipolygons(polygons)


def _require_polygons(name: str, features: Features) -> None:
    """Raises `DataError` for points, lines and other geometries that are no polygons."""
    others = [
        f"feature {number} ({geometry.geom_type})"
        for geometry, number in zip(features.geometries, features.numbers, strict=True)
        if geometry is not None and geometry.geom_type not in POLYGONS
    ]
    if others:
        raise DataError(
            f"{name} has {len(others)} features that are no polygons, {first_names(others)}; points and lines have no area, so "
            "they say of no pixel what it is: draw polygons, or buffer them in the GIS"
        )


def _class(value: Any, place: str) -> str | None:
    """The class that a field's value names; None if it has no value. Numbers without a fraction are written without one."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return class_name(value)
    except LabelError as error:
        raise DataError(f"{place}: its class: {error}") from error


def _repair(
    name: str, polygons: Geometries, numbers: Sequence[int], classes: list[str | None], omissions: Omissions
) -> None:  # fmt: skip
    """Counts invalid polygons. They become void: their class is removed, and their outline is repaired."""
    for index in np.flatnonzero(~shapely.is_valid(polygons)).tolist():  # a missing geometry is not valid
        polygon, place = polygons[index], f"feature {numbers[index]}"
        if polygon is None or not np.isfinite(shapely.get_coordinates(polygon)).all():
            raise DataError(f"{name}: {place} is damaged, so its place is not known: remove it, or draw it again")
        omissions.add_unknown(INVALID, name, f"{place}: {shapely.is_valid_reason(polygon)[:LONGEST_REASON]}")
        polygons[index], classes[index] = shapely.make_valid(polygon), None
