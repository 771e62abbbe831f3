"""Encodes a segmented scene with its coordinates: as GeoTIFF and as GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from imaging.answer import SegmentedImage
from imaging.classes import is_background
from imaging.georeferenced.geojson import feature_collection
from imaging.georeferenced.place import Place, Window, pixel_areas
from imaging.georeferenced.raster import RasterFacts, raster_bytes
from imaging.polygons import trace, trace_coverage
from imaging.regions import Regions
from imaging.rendering import Rendering
from imaging.runs import column_runs

FULL = 255.0  # of confidence in a map of 8 bits
DIGITS = 4  # of areas and confidence


def encode_scene(image: SegmentedImage, place: Place, rendering: Rendering) -> bytes:
    """The answer's bytes, for `format=geotiff` and `geojson`. place: where the image's pixels lie.

    Equal images give equal bytes. Raises `AnswerTooLarge`, `UnknownClass` or `SceneError`.
    """
    image = image.with_void(rendering.min_confidence)
    if rendering.format == "geotiff":
        model = image.model
        tags = {
            "FCN_MODEL": model["name"],
            "FCN_MODEL_SHA256": model["sha256"],
            "FCN_RUNTIME": f"{model['runtime']} {model['precision']}",
        }
        return raster_bytes(place, image.class_map, RasterFacts(image.labels.classes, image.labels.palette, tags))
    polygons = _polygons(image, place, rendering)
    document = feature_collection(polygons, place, {"model": dict(image.model)})
    return json.dumps(document, separators=(",", ":")).encode()


def _polygons(image: SegmentedImage, place: Place, rendering: Rendering) -> Iterator[tuple[shapely.Polygon, Mapping[str, Any]]]:
    """The polygon of each region in the image's pixels, and its properties."""
    names = {label.id: label.name for label in image.labels.classes}
    class_ids = rendering.class_ids(image.labels.classes)
    ids = [id for id in names if id in class_ids and (rendering.classes or not is_background(names[id]))]
    regions = Regions(column_runs(image.class_map), ids)
    areas = regions.sums(lambda left, right: _areas(place, left, right))
    means, confidence_map = None, image.confidence
    if confidence_map is not None:
        means = regions.sums(lambda left, right: confidence_map[:, left:right]) / regions.pixels / FULL
    tracing = trace_coverage if rendering.topology == "shared" else trace
    for index, (id, polygon) in enumerate(tracing(image.class_map, regions, rendering.tolerance)):
        confidence = None if means is None else round(float(means[index]), DIGITS)
        area = round(float(areas[index]), DIGITS)
        yield polygon, {"class_id": id, "class": names[id], "area_m2": area, "confidence": confidence}


def _areas(place: Place, left: int, right: int) -> npt.NDArray[np.float64]:
    """The square metres of each pixel in these columns, (H, columns)."""
    height = place.size[0]
    return np.broadcast_to(pixel_areas(place, Window(0, left, height, right - left)), (height, right - left))
