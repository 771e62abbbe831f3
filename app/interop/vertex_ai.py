"""The contract of Google's Vertex AI: a health route and a predict route, whose paths its variables give.

Source: Vertex AI documentation, "Custom container requirements for prediction", "Get online predictions from a custom trained
model" and "Choose an endpoint type".
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import FormData, UploadFile

from app.api.batch import image_outcomes
from app.api.batch_bodies import Outcome, Outcomes
from app.api.errors import SEGMENT_PROBLEMS, BadRequest, Problem, TooLarge, Unavailable
from app.api.examples import segment_responses, upload_body
from app.api.forms import DEFAULT_NAME, FIELDS, MAX_FILES, NO_ROOM, SPOOL_BYTES, images
from app.api.json_images import parse_object
from app.api.parameters import Parameters, with_values
from app.api.schemas import ClassMask, CocoAnswer, SegmentAnswer
from app.api.segment import AnswerResponse, Ready, make_options, segment_image, upload_limits
from app.api.state import UNAVAILABLE, ready
from app.api.uploads import media_type, read_json
from app.settings import Settings
from model.inference.processes.protocol import Body

MOST_MB = 10.0  # 10^6 bytes of a request's JSON, and of its answers: Vertex AI carries 1.5, a dedicated endpoint 10
FORMS = 'base64 text, {"b64": TEXT}, {"content": TEXT} or {"image_bytes": {"b64": TEXT}}'
INSTANCES = {
    "type": "object",
    "required": ["instances"],
    "properties": {
        "instances": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_FILES,
            "items": {"anyOf": [{"type": "string", "format": "byte"}, {"type": "object"}]},
            "description": f"images: {FORMS}",
        },
        "parameters": {"type": "object", "description": "names and values of the query"},
    },
}
EXAMPLE = {"instances": [{"b64": "iVBORw0KGgo="}], "parameters": {"format": "json", "mask": "rle"}}
log = logging.getLogger("segment")


class Predictions(BaseModel):
    """The predictions, in the order of the instances."""

    predictions: list[Any] = Field(
        description="JSON of the formats `json`, `coco` and `hf`, else `b64`, of a cut-out also `box`"
    )


async def predict(request: Request, service: Ready, query: Parameters) -> Response:
    """Answers one prediction for each instance, in their order: JSON as of `/segment?format=json`, or as `parameters` ask.

    Parameters have the names and values of the query. The first instance that cannot be answered fails the whole request. A
    body that is not JSON is an image, and is answered as by `/segment`.
    """
    if media_type(request) != "application/json":
        return await segment_image(request, service, query)
    limits = upload_limits(request, service, min(MOST_MB, service.settings.max_upload_mb))
    document = _parse(await read_json(request, limits))
    if (values := document.get("parameters")) is not None:
        query = with_values(query, values, "parameters")
    options = make_options(service, query, query.format or "json", DEFAULT_NAME)  # raises before any image is worked on
    photos = [_image(index, instance) for index, instance in enumerate(document.pop("instances"))]
    del document  # an attacker decides what else it holds
    form = await _form(photos)
    del photos
    try:
        parts = images(form)
        outcomes = image_outcomes(request, service, query, parts, [DEFAULT_NAME] * len(parts))
        body = await _predictions(outcomes, options.rendering.is_json, limits.hold)
    finally:
        await form.close()
    limits.hold(0)
    service.budget.hold_answer(request.state.reservation, len(body))
    return AnswerResponse(Body(body, length=len(body)), "application/json", headers={})


def vertex_ai_router(settings: Settings) -> APIRouter:
    """The health and the predict route. Vertex AI sends requests only while the health route is 200, that is, while ready."""
    router = APIRouter(tags=["Vertex AI"])
    router.add_api_route(
        settings.vertex_health_route, ready, name="platform_health", summary="Readiness", responses=UNAVAILABLE
    )
    responses = segment_responses(SEGMENT_PROBLEMS)
    responses[200] |= {"model": SegmentAnswer | CocoAnswer | list[ClassMask] | Predictions}
    upload = upload_body()
    upload["requestBody"]["content"]["application/json"] = {"schema": INSTANCES, "example": EXAMPLE}
    router.add_api_route(
        settings.vertex_predict_route, predict, methods=["POST"], name="platform_predict", summary="Segment instances",
        response_class=Response, response_model=None, responses=responses, openapi_extra=upload,
    )  # fmt: skip
    return router


async def _predictions(outcomes: Outcomes, is_json: bool, hold: Callable[[int], None]) -> bytes:
    """The JSON of all predictions. Raises the `Problem` of the first instance that has one, or `TooLarge`.

    is_json: whether the answers are JSON; others become base64. hold: is called with the bytes of all predictions so far,
    and may raise.
    """
    predictions, size = [], 0
    async with aclosing(outcomes):
        async for outcome in outcomes:
            if outcome.problem:
                raise _of_instance(outcome.index, outcome.problem)
            prediction = outcome.body if is_json else _as_text(outcome)
            size += len(prediction)
            if size > MOST_MB * 1e6:
                message = f"the predictions are larger than {MOST_MB:g} MB in all"
                raise TooLarge(f"{message}; send fewer instances, or ask for a smaller format, such as png or mask=rle")
            hold(size)
            predictions.append(prediction)
    return b'{"predictions":[' + b",".join(predictions) + b"]}"


def _as_text(outcome: Outcome) -> bytes:
    """The JSON of an answer that is not JSON: `b64`, its bytes, and of a cut-out the `box` of its object."""
    box = {name: value for name, value in outcome.facts.items() if name == "box"}
    return json.dumps({"b64": base64.b64encode(outcome.body).decode()} | box, separators=(",", ":")).encode()


def _of_instance(index: int, problem: Problem) -> Problem:
    """The problem of the request. It has no reason, because `image_outcomes` has counted it already."""
    error = type(problem)(f"instances[{index}]: {problem.detail}", problem.headers)
    error.reason = None
    return error


def _parse(body: bytes) -> dict[str, Any]:
    """The request's JSON, with `instances`, a list of 1 to `MAX_FILES` instances. Raises `BadRequest`."""
    document = parse_object(body, EXAMPLE)
    instances = document.get("instances")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_FILES:
        raise BadRequest(f"the JSON has no list `instances` of 1 to {MAX_FILES} images; send {json.dumps(EXAMPLE)}")
    return document


def _image(index: int, instance: object) -> bytes:
    """The bytes of an instance's image. Raises `BadRequest`."""
    value = instance
    if isinstance(value, dict):
        value = value.get("image_bytes", value.get("content", value))
    if isinstance(value, dict):
        value = value.get("b64")
    if not isinstance(value, str):
        raise BadRequest(f"instances[{index}]: no image; write it as {FORMS}")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise BadRequest(f"instances[{index}]: its text is not base64: {error}; write the image as {FORMS}") from error


async def _form(contents: Sequence[bytes]) -> FormData:
    """A form with an image file for each of the contents, as `/segment/batch` gets it. The caller closes it."""
    files = [SpooledTemporaryFile(SPOOL_BYTES) for _ in contents]  # noqa: SIM115
    parts = [UploadFile(file, size=0, filename=DEFAULT_NAME) for file in files]  # type: ignore[arg-type]
    form = FormData([(FIELDS[0], part) for part in parts])
    try:
        for part, content in zip(parts, contents, strict=True):
            await part.write(content)
            await part.seek(0)
    except OSError as error:
        for part in parts:
            with suppress(OSError):  # closing writes what is still in the file's buffer
                await part.close()
        log.error("images could not be kept on disk: %s", error)
        raise Unavailable("there is no room on disk for the images; try again later", NO_ROOM, "disk") from error
    return form
