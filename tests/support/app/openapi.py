"""What the OpenAPI document says of answers, and how much fuzzing looks for one that breaks it."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from hypothesis import HealthCheck, settings
from pydantic import TypeAdapter

from app.api.errors import BATCH_PROBLEMS, SEGMENT_PROBLEMS
from app.api.schemas import ClassMask, CocoAnswer, ProblemDetails, SegmentAnswer
from imaging.rendering import MaskEncoding, Rendering
from tests.support.images import open_image

QUICK = settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(QUICK, max_examples=1500, derandomize=False, print_blob=True)
STATUSES = {
    "/segment": {200, *(kind.status for kind in SEGMENT_PROBLEMS)},
    "/segment/batch": {200, *(kind.status for kind in BATCH_PROBLEMS)},
}


def without_unused(query: dict[str, Any]) -> dict[str, Any]:
    """The query without the parameters that its format, which there is, does not use."""
    rendering = Rendering(query.get("format") or "png")
    if query.get("mask") in get_args(MaskEncoding) and rendering.uses("mask"):
        rendering = replace(rendering, mask=query["mask"])
    return {name: value for name, value in query.items() if rendering.uses(name)}


def assert_documented(response: Any, path: str) -> None:
    """The answer is one of those that the document tells of."""
    assert response.status_code in STATUSES[path], response.text
    assert response.headers["x-request-id"]
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert ProblemDetails.model_validate_json(response.content).status == response.status_code
        assert (response.status_code == 503) == ("retry-after" in response.headers)
    elif path == "/segment":
        assert_answer(response)
    elif response.headers["content-type"] == "application/json":
        CocoAnswer.model_validate_json(response.content)
    elif response.headers["content-type"] == "application/zip":
        assert zipfile.ZipFile(io.BytesIO(response.content)).testzip() is None
    else:
        for line in response.content.splitlines():
            outcome = json.loads(line)
            assert outcome["status"] in STATUSES["/segment"]
            assert ("answer" if outcome["status"] == 200 else "problem") in outcome


def assert_answer(response: Any) -> None:
    kind = response.headers["content-type"]
    if kind == "application/json":
        TypeAdapter(SegmentAnswer | CocoAnswer | list[ClassMask]).validate_json(response.content)
    elif kind == "application/geo+json":
        assert json.loads(response.content)["type"] == "FeatureCollection"
    elif kind == "application/x-npz":
        with np.load(io.BytesIO(response.content)) as arrays:
            assert arrays.files
    else:
        assert kind in ("image/png", "image/tiff")
        open_image(response.content).load()
