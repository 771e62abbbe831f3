"""Writes the result of a scene from its rows of classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from cli.scene_request import SceneRequest
from imaging.classes import class_id, is_background
from imaging.georeferenced.geojson import GeoJSONWriter
from imaging.georeferenced.layers import KEY, GeoPackageWriter, LayerWriter, check_layer, find_objects, layer_key, write_layer
from imaging.georeferenced.place import Place
from imaging.georeferenced.raster import RasterFacts, read_key, write_raster
from imaging.georeferenced.styles import polygon_style, raster_style
from model.inference.scenes import ClassRows
from model.labels import LabelSet
from model.whole_file import whole_file

LAYER = "objects"
HEAD_BYTES = 1 << 14  # of a GeoJSON document, where its key is


def class_ids(request: SceneRequest, labels: LabelSet) -> list[int]:
    """The ids of the classes whose polygons are wanted: those that the request names, or all but the background.

    Raises `UnknownClass`.
    """
    if request.classes:
        return sorted({class_id(name, labels.classes) for name in request.classes})
    return [label.id for label in labels.classes if not is_background(label.name)]


def write_output(
    request: SceneRequest, place: Place, rows: Iterable[ClassRows], labels: LabelSet, tags: Mapping[str, str]
) -> None:
    """Writes the result, whole or not at all. tags: what it says of how it was made. Raises `OSError` and `SceneError`."""
    with whole_file(Path(request.out)) as partial:
        if request.kind == "raster":
            facts = RasterFacts(labels.classes, labels.palette, tags)
            write_raster(partial, place, (part.ids for part in rows), facts, cog=request.cog)
        elif request.kind == "geojson":
            with partial.open("w", encoding="utf-8") as file:
                write_polygons(GeoJSONWriter(file, place, facts=_lowered(tags)), request, place, rows, labels)
        else:
            _write_geopackage(partial, request, place, rows, labels, tags)
    if request.style:
        style = polygon_style if request.is_polygons else raster_style
        with whole_file(Path(request.out).with_suffix(".qml")) as partial:
            partial.write_text(style(labels.classes), encoding="utf-8")


def _write_geopackage(
    path: Path, request: SceneRequest, place: Place, rows: Iterable[ClassRows], labels: LabelSet, tags: Mapping[str, str]
) -> None:
    """Writes a GeoPackage. GDAL wants its ending in the name, so it has another one meanwhile, which a later run replaces."""
    package = path.with_name(f".{Path(request.out).stem}.part.gpkg")
    try:
        package.unlink(missing_ok=True)
        count = write_polygons(GeoPackageWriter(package, place, LAYER, _lowered(tags)), request, place, rows, labels)
        check_layer(package, count)
        package.replace(path)
    finally:
        package.unlink(missing_ok=True)


def write_polygons(
    writer: LayerWriter, request: SceneRequest, place: Place, rows: Iterable[ClassRows], labels: LabelSet
) -> int:
    """Writes the objects of the rows as polygons, and gives their number."""
    objects = find_objects(rows, place, class_ids(request, labels), shared_borders=request.shared_borders)
    return write_layer(
        writer, objects, place, {label.id: label for label in labels.classes}, tolerance=request.tolerance,
        shared_borders=request.shared_borders, min_area=request.min_area,
    )  # fmt: skip


def existing_key(request: SceneRequest) -> str | None:
    """The key of the result that is there; None if there is none."""
    if request.kind == "raster":
        return read_key(request.out)
    if request.kind == "geopackage":
        return layer_key(Path(request.out))
    return _geojson_key(Path(request.out))


def _geojson_key(path: Path) -> str | None:
    """The key at the beginning of a document that is whole."""
    try:
        with path.open("rb") as file:
            head = file.readline(HEAD_BYTES)
        facts = json.loads(head.rpartition(b",")[0] + b"}")
    except (OSError, ValueError):
        return None
    key: str | None = facts.get(KEY)
    return key


def _lowered(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in tags.items()}
