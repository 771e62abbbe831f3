"""Writes the result of a scene from its rows of classes, and a style of QGIS, which takes the one that has a layer's name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from common.whole_file import OTHER, begins_with, check_output, whole_file, write_file
from imaging.classes import Label, is_background, object_ids
from imaging.georeferenced import layers
from imaging.georeferenced.geojson import write_geojson
from imaging.georeferenced.place import Place
from imaging.georeferenced.raster import read_key, write_raster
from model.inference.scenes.former import DOCTYPE, STYLE, STYLE_HEAD, VERSION, refuse_open, remove_former
from model.inference.scenes.request import SceneRequest
from model.inference.scenes.rows import ClassRows
from model.inference.scenes.rows_file import ENDING
from model.labels import LabelSet

LAYER = "objects"
HEAD_BYTES = 1 << 14  # of a GeoJSON document, where its key is
OPACITY = "0.6"


def write_output(
    request: SceneRequest, place: Place, rows: Iterable[ClassRows], labels: LabelSet, tags: Mapping[str, str]
) -> list[str]:
    """Writes the result, whole or not at all; gives lines on what lay beside the one that it replaces.

    tags: what it says of how it was made. Raises `OSError` and `SceneError`.
    """
    out = Path(request.out)
    with whole_file(out, ending=out.suffix) as content:  # which GDAL wants in the name
        rows = (part.shown(request.min_confidence) for part in rows)
        if request.kind == "tif" and request.format == "confidence":
            planes = (part.confidence for part in rows if part.confidence is not None)
            write_raster(content, place, planes, None, tags, cog=request.cog)
        elif request.kind == "tif":
            write_raster(content, place, (part.ids for part in rows), labels, tags, cog=request.cog)
        else:
            ids, facts = object_ids(request.classes, labels.classes), {name.lower(): text for name, text in tags.items()}
            polygons = layers.layer_polygons(
                rows, place, {label.id: label.name for label in labels.classes if label.id in ids},
                tolerance=request.tolerance, shared_borders=request.topology == "shared", min_area=request.min_area,
            )  # fmt: skip
            if request.kind == "geojson":
                with content.open("w", encoding="utf-8") as file:
                    write_geojson(file, polygons, place, facts)
            else:
                layers.write_geopackage(content, polygons, place, LAYER, facts)
        lines = remove_former(request, _style(request, labels))
    write_style(request, labels)
    return lines


def write_style(request: SceneRequest, labels: LabelSet) -> None:
    """Writes the style beside a result, if it is asked for."""
    if request.style and (style := _style(request, labels)):
        write_file(Path(request.out).with_suffix(STYLE), style, follow=False)


def _style(request: SceneRequest, labels: LabelSet) -> str | None:
    """The style that the result would have; None for confidence."""
    if request.is_polygons:
        return polygon_style(labels.classes)
    return raster_style(labels.classes) if request.format == "geotiff" else None


def check_outputs(requests: Sequence[SceneRequest], *, force: bool) -> None:
    """Raises `OSError` for files that cannot be written; without `force`, also for those that no run has written."""
    for request in requests:
        out = Path(request.out)
        refuse_open(out)
        check_output(out, None if force else partial(_other, request))
        check_output(request.out + ENDING, None if force else begins_with(rb'\{"key": '))
        if request.style:
            check_output(out.with_suffix(STYLE), None if force else begins_with(re.escape(STYLE_HEAD)))


def _other(request: SceneRequest, path: Path) -> str:
    """What a file holds beside a result, in words."""
    return layers.other_tables(path, LAYER) if request.kind == "gpkg" else "" if existing_key(request) else OTHER


def existing_key(request: SceneRequest) -> str | None:
    """The key of the result that is there; None if there is none."""
    if request.kind == "tif":
        return read_key(request.out)
    if request.kind == "gpkg":
        return layers.layer_key(Path(request.out), LAYER)
    return _geojson_key(Path(request.out))


def _geojson_key(path: Path) -> str | None:
    """The key at the beginning of a document that is whole."""
    try:
        with path.open("rb") as file:
            head = file.readline(HEAD_BYTES)
        facts = json.loads(head.rpartition(b",")[0] + b"}")
    except (OSError, ValueError, RecursionError):
        return None
    key: str | None = facts.get(layers.KEY)
    return key


def raster_style(labels: Iterable[Label]) -> str:
    """The style of a raster of class ids: a palette with names, in which the background hides nothing."""
    root = Element("qgis", version=VERSION)
    pipe = SubElement(root, "pipe")
    renderer = SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity=OPACITY, alphaBand="-1")
    palette = SubElement(renderer, "colorPalette")
    for label in labels:
        alpha = "0" if is_background(label.name) else "255"
        SubElement(palette, "paletteEntry", value=str(label.id), color=label.hex_color, alpha=alpha, label=label.name)
    return _text(root)


def polygon_style(labels: Iterable[Label]) -> str:
    """The style of polygons with the field `class`: a fill for each class."""
    root = Element("qgis", version=VERSION, styleCategories="Symbology")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", symbollevels="0")
    categories, symbols = (SubElement(renderer, name) for name in ("categories", "symbols"))
    for index, label in enumerate(labels):
        name = str(index)
        SubElement(categories, "category", value=label.name, label=label.name, symbol=name, render="true", type="string")
        symbol = SubElement(symbols, "symbol", name=name, type="fill", alpha=OPACITY)
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
        options = SubElement(layer, "Option", type="Map")
        color = ",".join(str(int(label.hex_color[start : start + 2], 16)) for start in (1, 3, 5))
        for key, value in (("color", f"{color},255"), ("style", "solid"), ("outline_color", f"{color},255")):
            SubElement(options, "Option", name=key, type="QString", value=value)
    return _text(root)


def _text(root: Element) -> str:
    indent(root)
    return f"{DOCTYPE}{tostring(root, encoding='unicode')}\n"
