"""Encodes a segmented scene with its coordinates: as GeoTIFF and as GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from imaging.answer import SegmentedImage
from imaging.classes import object_ids
from imaging.georeferenced.geojson import PolygonFacts, feature_collection
from imaging.georeferenced.place import AREA_ROWS, Place, Window, pixel_areas
from imaging.georeferenced.raster import raster_bytes
from imaging.objects import Part
from imaging.polygons import trace
from imaging.rendering import Rendering


def encode_scene(image: SegmentedImage, place: Place, rendering: Rendering) -> bytes:
    """The answer's bytes, for `format=geotiff` and `geojson`. image: one of `shown`. place: where its pixels lie.

    Equal images give equal bytes. Raises `AnswerTooLarge`, `WrongParameter` or `SceneError`.
    """
    if rendering.format == "geotiff":
        model = image.model
        tags = {
            "FCN_MODEL": model["name"],
            "FCN_MODEL_SHA256": model["sha256"],
            "FCN_RUNTIME": f"{model['runtime']} {model['precision']}",
        }
        return raster_bytes(place, image.result.class_map, image.labels, tags)
    polygons = _polygons(image, place, rendering)
    document = feature_collection(polygons, place, {"model": dict(image.model)})
    return json.dumps(document, separators=(",", ":")).encode()


def _polygons(image: SegmentedImage, place: Place, rendering: Rendering) -> Iterator[PolygonFacts]:
    """The polygon of each region in the image's pixels, and its properties."""
    names = {label.id: label.name for label in image.labels.classes}
    ids, is_shared = object_ids(rendering.classes, image.labels.classes), rendering.shares_borders
    for each in trace(image.result.class_map, ids, rendering.tolerance, shares_borders=is_shared, parts=_parts(image, place)):
        yield each.polygon, each.properties(names)


def _parts(image: SegmentedImage, place: Place) -> Iterator[Part]:
    """The rows of the image, with their areas."""
    class_map, confidence = image.result.class_map, image.result.confidence
    for top in range(0, place.size[0], AREA_ROWS):
        rows = slice(top, top + AREA_ROWS)
        areas = pixel_areas(place, Window(top, 0, *class_map[rows].shape))
        yield class_map[rows], areas, None if confidence is None else confidence[rows]
