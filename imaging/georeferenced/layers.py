"""Polygons with their class, area and confidence, as a layer: GeoJSON in degrees, or a GeoPackage in the scene's system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import shapely

from common.arrays import Ids
from imaging.georeferenced.errors import SceneError, VectorError
from imaging.georeferenced.geojson import PolygonFacts
from imaging.georeferenced.opening import ended_by_ctrl_c
from imaging.georeferenced.place import AREA_ROWS, Place, Window, pixel_areas
from imaging.georeferenced.raster import KEY_TAG, in_blocks
from imaging.georeferenced.vector_files import check_vector_file
from imaging.objects import OBJECTS_AT_ONCE, MapObject, ObjectFinder
from imaging.polygons import simplify

MOST_CORNERS = 5_000_000  # of all polygons that are simplified with their borders shared, which needs all of them at once
FEATURES_AT_ONCE = 1000
DATE = "2000-01-01T00:00:00.000Z"
"""Of every GeoPackage, so that equal layers have equal bytes."""
KEY = KEY_TAG.lower()
TABLES = """
SELECT name, CAST(last_change AS TEXT) FROM sqlite_master LEFT JOIN gpkg_contents ON table_name = name
WHERE type IN ('table', 'view') AND name NOT GLOB 'gpkg_*' AND name NOT GLOB 'rtree_*' AND name NOT GLOB 'sqlite_*'
"""
"""Also those that its list of contents lacks, as QGIS leaves its styles out."""


def layer_polygons(
    rows: Iterable[tuple[int, Ids, Ids | None]],
    place: Place,
    names: Mapping[int, str],
    *,
    tolerance: float = 0.0,
    shared_borders: bool = False,
    min_area: float = 0.0,
) -> Iterator[PolygonFacts]:
    """The polygons of the objects of at least `min_area` square metres, in pixels of the scene, and their properties.

    rows: first row, class ids and confidences, from top to bottom. names: of the classes whose objects are wanted, by id.
    tolerance: in the units of the scene's system; no outer ring moves further (Douglas and Peucker, 1973), and holes that would
    be thinner vanish. With shared borders, neighbours are simplified together (Visvalingam and Whyatt, 1993), as
    `trace` does it. Raises `NoCoordinates`, and `SceneError` if shared borders need too many points.
    """
    all_objects = _objects(rows, place, ObjectFinder(place.size[1], names, with_nodes=shared_borders))
    objects: Iterator[MapObject] = (each for each in all_objects if each.square_metres >= min_area)
    if tolerance and shared_borders:
        objects = _simplified_together(objects, place, tolerance)
    elif tolerance:
        objects = _simplified(objects, place, tolerance)
    for each in objects:
        yield each.polygon, each.properties(names)


def _objects(rows: Iterable[tuple[int, Ids, Ids | None]], place: Place, finder: ObjectFinder) -> Iterator[MapObject]:
    """The objects, as they are finished."""
    planes = (np.stack([plane for plane in part[1:] if plane is not None], 1) for part in rows)
    for index, part in enumerate(in_blocks(planes, AREA_ROWS)):
        areas = pixel_areas(place, Window(index * AREA_ROWS, 0, len(part), place.size[1]))
        yield from finder.add(part[:, 0], areas, part[:, 1] if part.shape[1] > 1 else None)
    yield from finder.finish()


def write_geopackage(path: Path, polygons: Iterable[PolygonFacts], place: Place, layer: str, facts: Mapping[str, str]) -> None:
    """Writes polygons, in pixels of the scene, to one layer of a new GeoPackage, in the scene's system.

    layer: its name. facts: what the layer's metadata say. Without any polygon, the layer is empty. Reads the number of features
    again, since not every failed write is told. Raises `NoCoordinates` and `OSError`.
    """
    crs, count = place.require("the scene").to_wkt(), 0
    options: dict[str, Any] = {"layer_metadata": dict(facts), "spatial_index": True}  # of the first features
    rest = iter(polygons)
    while (features := list(islice(rest, FEATURES_AT_ONCE))) or options:
        columns = {
            "class_id": np.array([each["class_id"] for _, each in features], np.int32),
            "class": np.array([each["class"] for _, each in features], object),
            "area_m2": np.array([each["area_m2"] for _, each in features], np.float64),
            "confidence": np.array([np.nan if each["confidence"] is None else each["confidence"] for _, each in features]),
        }
        shapes = np.array([polygon for polygon, _ in features], np.object_)
        geometry = shapely.to_wkb(shapely.transform(shapes, place.to_map))
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
        try:
            pyogrio.raw.write(
                path, geometry, list(columns.values()), list(columns), layer=layer, driver="GPKG",
                geometry_type="Polygon", crs=crs, append=not options, **options,
            )  # fmt: skip
        except pyogrio.errors.DataSourceError as error:
            raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from error
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
        options, count = {}, count + len(features)
    try:
        count_in_file = pyogrio.read_info(path)["features"]
    except pyogrio.errors.DataSourceError as error:
        raise OSError(f"{path} cannot be read again; is the disk full or damaged?") from error
    if count_in_file != count:
        raise OSError(f"{path} has {count_in_file} features of {count}; is the disk full or damaged?")


@ended_by_ctrl_c()
def layer_key(path: Path, layer: str) -> str | None:
    """The key of a layer; None if there is no such file, layer or key."""
    try:
        check_vector_file(path)
        facts = pyogrio.read_info(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, VectorError):
        return None
    key: str | None = (facts.get("layer_metadata") or {}).get(KEY)
    return key


@ended_by_ctrl_c()
def other_tables(path: Path, layer: str) -> str:
    """What a GeoPackage holds beside a layer as `write_geopackage` left it, in words; empty if there is nothing."""
    try:
        check_vector_file(path)
        *_, (names, dates) = pyogrio.raw.read(path, sql=TABLES)
    except (pyogrio.errors.DataSourceError, VectorError):
        return "no layers that can be read"
    tables = dict(zip(names, dates, strict=True))
    if others := sorted(set(tables) - {layer}):
        return f"the layers or tables {', '.join(others)}"
    return "" if tables == {layer: DATE} else f"the layer {layer} of another program, or changed since it was written"


def _simplified(objects: Iterator[MapObject], place: Place, tolerance: float) -> Iterator[MapObject]:
    """The objects with fewer points, each ring simplified as a line: of a polygon, GEOS drops parts that would cross it."""
    while batch := list(islice(objects, OBJECTS_AT_ONCE)):
        polygons = shapely.transform(np.array([each.polygon for each in batch], np.object_), place.to_map)
        rings, owners = shapely.get_rings(polygons, return_index=True)
        points, of_ring = shapely.get_coordinates(rings, return_index=True)
        lines = shapely.linestrings(points, indices=of_ring)
        simple = shapely.transform(simplify(lines, owners, tolerance, keeps_holes=False), place.to_pixels)
        yield from (replace(each, polygon=polygon) for each, polygon in zip(batch, simple, strict=True))


def _simplified_together(some: Iterable[MapObject], place: Place, tolerance: float) -> Iterator[MapObject]:
    """The objects with fewer points, the same along common borders. Raises `SceneError` for too many."""
    objects, corners = list[MapObject](), 0
    for each in some:
        objects.append(each)
        corners += shapely.get_num_coordinates(each.polygon)
        if corners > MOST_CORNERS:
            raise SceneError(
                f"the polygons have more than {MOST_CORNERS:,} points, too many to simplify with shared borders; leave "
                "--tolerance or --topology out, or give a larger --min-area"
            )
    if not objects:
        return
    polygons = shapely.transform(np.array([each.polygon for each in objects], np.object_), place.to_map)
    simple = shapely.transform(shapely.coverage_simplify(polygons, tolerance), place.to_pixels)
    yield from (replace(each, polygon=polygon) for each, polygon in zip(objects, simple, strict=True))
