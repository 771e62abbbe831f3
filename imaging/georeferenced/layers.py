"""Polygons with their class, area and confidence, as a layer: GeoJSON in degrees, or a GeoPackage in the scene's system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyogrio
import pyogrio.raw
import shapely

from imaging.classes import Label
from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.objects import OBJECTS_AT_ONCE, Ids, MapObject, ObjectFinder
from imaging.georeferenced.place import Place, Window, pixel_areas
from imaging.georeferenced.raster import KEY_TAG, in_blocks
from imaging.georeferenced.vectors import VectorError, check_vector_file

MOST_HOLES = 4000  # of a polygon that is simplified with its topology preserved, whose time grows with their square
MOST_CORNERS = 5_000_000  # of all polygons that are simplified with their borders shared, which needs all of them at once
FEATURES_AT_ONCE = 1000
STEP_ROWS = 256
DATE = "2000-01-01T00:00:00.000Z"
"""Of every GeoPackage, so that equal layers have equal bytes."""
KEY = KEY_TAG.lower()
TABLES = """
SELECT name, CAST(last_change AS TEXT) FROM sqlite_master LEFT JOIN gpkg_contents ON table_name = name
WHERE type IN ('table', 'view') AND name NOT GLOB 'gpkg_*' AND name NOT GLOB 'rtree_*' AND name NOT GLOB 'sqlite_*'
"""
"""Also those that its list of contents lacks, as QGIS leaves its styles out."""


class LayerWriter(Protocol):
    """Writes a layer, polygon by polygon; polygons are in pixels of the scene."""

    def add(self, polygon: shapely.Geometry, properties: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


def find_objects(
    rows: Iterable[tuple[int, Ids, Ids | None]], place: Place, ids: Iterable[int], *, shared_borders: bool = False
) -> Iterator[MapObject]:
    """The objects of these classes, as they are finished. rows: first row, class ids and confidences, from top to bottom.

    Raises `NoCoordinates`.
    """
    width = place.size[1]
    finder = ObjectFinder(width, list(ids), with_nodes=shared_borders)
    planes = (np.stack([plane for plane in part[1:] if plane is not None], 1) for part in rows)
    for index, part in enumerate(in_blocks(planes, STEP_ROWS)):  # sums have equal bits, whatever the pieces that rows come in
        areas = pixel_areas(place, Window(index * STEP_ROWS, 0, len(part), width))
        yield from finder.add(part[:, 0], areas, part[:, 1] if part.shape[1] > 1 else None)
    yield from finder.finish()


def write_layer(
    writer: LayerWriter,
    objects: Iterable[MapObject],
    place: Place,
    labels: Mapping[int, Label],
    *,
    tolerance: float = 0.0,
    shared_borders: bool = False,
    min_area: float = 0.0,
) -> int:
    """Writes objects of at least `min_area` square metres, and gives their number.

    tolerance: in the units of the scene's system; no outer ring moves further (Douglas and Peucker, 1973), and holes that would
    be thinner vanish. With
    shared borders, neighbours are simplified together (Visvalingam and Whyatt, 1993), as `trace_coverage` does it. Raises
    `SceneError` if that needs too many points.
    """
    polygons_to_write: Iterator[MapObject] = (each for each in objects if each.square_metres >= min_area)
    if tolerance and shared_borders:
        polygons_to_write = _simplified_together(list(_counted(polygons_to_write)), place, tolerance)
    elif tolerance:
        polygons_to_write = _simplified(polygons_to_write, place, tolerance)
    count = 0
    for each in polygons_to_write:
        writer.add(each.polygon, _properties(each, labels[each.id]))
        count += 1
    writer.close()
    return count


class GeoPackageWriter:
    """Writes polygons to one layer of a new GeoPackage, in the scene's system.

    layer: its name. facts: what the layer's metadata say. Raises `NoCoordinates`, and `OSError` while it writes.
    """

    def __init__(self, path: Path, place: Place, layer: str, facts: Mapping[str, str]) -> None:
        self._path, self._place, self._layer, self._facts = path, place, layer, dict(facts)
        self._crs = place.require("the scene").to_wkt()
        self._waiting: list[tuple[shapely.Geometry, Mapping[str, Any]]] = []
        self._is_begun = False

    def add(self, polygon: shapely.Geometry, properties: Mapping[str, Any]) -> None:
        self._waiting.append((polygon, properties))
        if len(self._waiting) >= FEATURES_AT_ONCE:
            self._write()

    def close(self) -> None:
        """Writes the polygons that wait. Without any polygon, the file has an empty layer."""
        if self._waiting or not self._is_begun:
            self._write()

    def _write(self) -> None:
        features, self._waiting = self._waiting, []
        columns = {
            "class_id": np.array([each["class_id"] for _, each in features], np.int32),
            "class": np.array([each["class"] for _, each in features], object),
            "area_m2": np.array([each["area_m2"] for _, each in features], np.float64),
            "confidence": np.array([np.nan if each["confidence"] is None else each["confidence"] for _, each in features]),
        }
        polygons = np.array([polygon for polygon, _ in features], np.object_)
        geometry = shapely.to_wkb(shapely.transform(polygons, self._place.to_map))
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
        options: dict[str, Any] = {} if self._is_begun else {"layer_metadata": self._facts, "spatial_index": True}
        try:
            pyogrio.raw.write(
                self._path, geometry, list(columns.values()), list(columns), layer=self._layer, driver="GPKG",
                geometry_type="Polygon", crs=self._crs, append=self._is_begun, **options,
            )  # fmt: skip
        except pyogrio.errors.DataSourceError as error:
            raise OSError(f"{self._path} cannot be written: {' '.join(str(error).split())}") from error
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
        self._is_begun = True


def check_layer(path: Path, count: int) -> None:
    """Raises `OSError` unless the GeoPackage has so many features, since not every failed write is told."""
    try:
        features = pyogrio.read_info(path)["features"]
    except pyogrio.errors.DataSourceError as error:
        raise OSError(f"{path} cannot be read again; is the disk full or damaged?") from error
    if features != count:
        raise OSError(f"{path} has {features} features of {count}; is the disk full or damaged?")


def layer_key(path: Path, layer: str) -> str | None:
    """The key of a layer; None if there is no such file, layer or key."""
    try:
        check_vector_file(path)
        facts = pyogrio.read_info(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, VectorError):
        return None
    key: str | None = (facts.get("layer_metadata") or {}).get(KEY)
    return key


def other_tables(path: Path, layer: str) -> str:
    """What a GeoPackage holds beside a layer as `GeoPackageWriter` left it, in words; empty if there is nothing."""
    try:
        check_vector_file(path)
        *_, (names, dates) = pyogrio.raw.read(path, sql=TABLES)
    except (pyogrio.errors.DataSourceError, VectorError):
        return "no layers that can be read"
    tables = dict(zip(names, dates, strict=True))
    if others := sorted(set(tables) - {layer}):
        return f"the layers or tables {', '.join(others)}"
    return "" if tables == {layer: DATE} else f"the layer {layer} of another program, or changed since it was written"


def _properties(each: MapObject, label: Label) -> dict[str, Any]:
    confidence = None if each.confidence is None else round(each.confidence, 4)
    return {"class_id": each.id, "class": label.name, "area_m2": round(each.square_metres, 4), "confidence": confidence}


def _counted(objects: Iterable[MapObject]) -> Iterator[MapObject]:
    corners = 0
    for each in objects:
        corners += shapely.get_num_coordinates(each.polygon)
        if corners > MOST_CORNERS:
            raise SceneError(
                f"the polygons have more than {MOST_CORNERS:,} points, too many to simplify with shared borders; leave "
                "--tolerance or --topology out, or give a larger --min-area"
            )
        yield each


def _simplified(objects: Iterator[MapObject], place: Place, tolerance: float) -> Iterator[MapObject]:
    """The objects with fewer points. If one would vanish or cross itself, topology is kept; with many holes, all points."""
    while batch := list(islice(objects, OBJECTS_AT_ONCE)):
        originals = np.array([each.polygon for each in batch], np.object_)
        polygons = shapely.transform(originals, place.to_map)
        simple = shapely.simplify(polygons, tolerance, preserve_topology=False)
        is_lost = (shapely.get_type_id(simple) != shapely.GeometryType.POLYGON) | shapely.is_empty(simple)
        is_lost |= ~shapely.is_valid(simple)
        has_many = is_lost & (shapely.get_num_interior_rings(polygons) >= MOST_HOLES)
        # GEOS may drop the point where a ring begins, and so move it by up to twice its tolerance
        rest = is_lost & ~has_many
        simple[rest] = shapely.simplify(polygons[rest], tolerance / 2, preserve_topology=True)
        results = np.where(has_many, originals, shapely.transform(simple, place.to_pixels))
        yield from map(_moved, batch, results)


def _simplified_together(objects: list[MapObject], place: Place, tolerance: float) -> Iterator[MapObject]:
    """The objects with fewer points, the same along common borders."""
    polygons = shapely.transform(np.array([each.polygon for each in objects], np.object_), place.to_map)
    if not len(polygons):
        return
    yield from map(_moved, objects, shapely.transform(shapely.coverage_simplify(polygons, tolerance), place.to_pixels))


def _moved(each: MapObject, polygon: shapely.Polygon) -> MapObject:
    return MapObject(each.id, polygon, each.pixels, each.square_metres, each.confidence)
