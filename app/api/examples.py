"""Examples for the API reference: answers made by the service's own code, and errors from their classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Annotated, Any, get_args

import numpy as np
from fastapi import FastAPI, Query

from app.api.errors import MEDIA_TYPE, Problem, Unauthorized, UnsupportedType, document
from app.api.headers import REMARK
from app.api.json_images import EXAMPLE
from app.api.schemas import ClassMask, CocoAnswer, CocoBatchAnswer, ProblemDetails, QueryModel, SegmentAnswer
from imaging.answer import SegmentedImage
from imaging.encoding import ImageFormat
from imaging.object_facts import OBJECT_HEADERS
from imaging.rendering import Rendering
from model.labels import voc_labels
from model.weights_file import DEFAULT_WEIGHTS

IMAGE = {"type": "string", "format": "binary", "minLength": 1}
PROBLEM = ProblemDetails.model_json_schema()
MODEL = {"name": DEFAULT_WEIGHTS, "sha256": "0" * 64, "runtime": "openvino", "precision": "int8"}
GEOJSON = {"type": "object", "properties": {"type": {"const": "FeatureCollection"}}, "required": ["type", "features"]}
HEADERS = {
    "X-Request-ID": "the request's id",
    "Server-Timing": "milliseconds per stage",
    "ETag": "weak tag of the answer, for `If-None-Match`",
    OBJECT_HEADERS["box"]: "of a cutout: left,top,width,height of its object, or none",
    OBJECT_HEADERS["object_pixels"]: "of other formats that take `classes`: their pixels, by default of all but the background",
    REMARK: "of a scene: a band is no alpha, as the file says",
}
REQUEST_ID = "5f2c9b0e4d1a4c7f8a3b6d9e0c1f2a3b"


def segmentation() -> dict[str, Any]:
    """The JSON answer for an image of 4x3 pixels, made by the code that makes real answers."""
    class_map = np.array([[0, 8, 8, 0], [0, 8, 8, 8], [0, 0, 8, 8]], np.uint8)
    labels = voc_labels()
    tiling = {"side": [384, 512], "tile": [384, 512], "overlap": 0.25, "blend": "mean", "quality": "standard", "tiles": 1}
    answer = SegmentedImage(
        photo=np.zeros((3, 4, 3), np.uint8), class_map=class_map, confidence=None, probabilities=None,
        mean_confidence=[0.98] + [0.91] * 20, labels=labels, model=MODEL, tiling=tiling,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(answer.encode(Rendering("json")))
    return document


def problem_responses(kinds: Sequence[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these problems, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status, same in groupby(sorted(kinds, key=lambda kind: kind.status), key=lambda kind: kind.status):
        alike = list(same)
        examples = {kind.name: {"value": document(kind, kind.example, REQUEST_ID)} for kind in alike}
        description = ", or: ".join(kind.title for kind in alike)
        responses[status] = {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": PROBLEM, "examples": examples}},
        }
    return responses


def segment_responses(kinds: Sequence[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of `/segment`."""
    success = {
        "description": "The mask: a PNG of the image's size, or JSON; with `color` and `overlay` also JPEG or WebP.",
        "model": SegmentAnswer | CocoAnswer | list[ClassMask],
        "content": {
            **{f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in get_args(ImageFormat)},
            "application/json": {"example": segmentation()},
            "application/x-npz": {"schema": {"type": "string", "format": "binary"}},
            "image/tiff": {"schema": {"type": "string", "format": "binary"}},
            "application/geo+json": {"schema": GEOJSON},
        },
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()},
    }
    return {200: success} | problem_responses(kinds)


def batch_responses(kinds: Sequence[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of `/segment/batch`."""
    good = {"index": 0, "file": "photo.jpg", "status": 200, "etag": 'W/"9f86d081"', "answer": segmentation()}
    bad = {"index": 1, "file": "notes.txt", "status": UnsupportedType.status}
    bad["problem"] = document(UnsupportedType, UnsupportedType.example, REQUEST_ID)
    lines = "".join(json.dumps(line) + "\n" for line in (good, bad))
    success = {
        "description": "A line of JSON for each image, one COCO document, or a zip of masks that ends with `results.jsonl`.",
        "model": CocoBatchAnswer,
        "content": {
            "application/x-ndjson": {"example": lines},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
    return {200: success} | problem_responses(kinds)


def with_keys(document: dict[str, Any], *, all_routes: bool) -> dict[str, Any]:
    """Adds the two ways to send a key to the OpenAPI document.

    They go to the POST routes and, with `all_routes`, to every route that may answer 401.
    """
    schemes = {
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }

    def needs_key(method: str, operation: dict[str, Any]) -> bool:
        return method == "post" or (all_routes and str(Unauthorized.status) in operation["responses"])

    paths = {
        path: {
            method: operation | ({"security": [{name: []} for name in schemes]} if needs_key(method, operation) else {})
            for method, operation in operations.items()
        }
        for path, operations in document["paths"].items()
    }
    return document | {"paths": paths, "components": document.get("components", {}) | {"securitySchemes": schemes}}


@cache
def query_document() -> list[dict[str, Any]]:
    """The query parameters of `/segment` as FastAPI describes those of a route."""

    async def described(query: Annotated[QueryModel, Query()]) -> None:
        """Is never called."""

    app = FastAPI()
    app.add_api_route("/", described)
    parameters: list[dict[str, Any]] = app.openapi()["paths"]["/"]["get"]["parameters"]
    return parameters


def batch_body() -> dict[str, Any]:
    """OpenAPI query and request body of `/segment/batch`."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "properties": {"file": files}, "required": ["file"]}
    return {
        "parameters": query_document(),
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
    }


def upload_body() -> dict[str, Any]:
    """OpenAPI query and request body of `/segment`: a form with `file`, the raw image, or JSON with `inputs`."""
    form = {"type": "object", "properties": {"file": IMAGE}, "required": ["file"]}
    document = {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "inputs": {"type": "string", "format": "byte", "minLength": 4, "description": "the image in base64"},
            "parameters": {"type": "object", "description": "names and values of the query"},
        },
    }
    raw = {"schema": IMAGE}
    return {
        "parameters": query_document(),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": raw,
                "application/octet-stream": raw,
                "application/json": {"schema": document, "example": EXAMPLE},
            },
        },
    }
