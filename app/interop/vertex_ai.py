"""The contract of Google's Vertex AI: a health route and a predict route, whose paths its variables give.

Source: Vertex AI documentation, "Custom container requirements for prediction", "Get online predictions from a custom trained
model" and "Choose an endpoint type".
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from app.api.batch import image_outcomes
from app.api.body import DEFAULT_NAME, JSON_COPIES, JsonBody, RequestBody, media_type, read_json
from app.api.errors import BadRequest, TooLarge, to_problem
from app.api.forms import check_number
from app.api.query import Parameters, json_values, make_options
from app.api.schemas import SEGMENT_ROUTE, upload_body
from app.api.segment import AnswerResponse, Ready, segment_image, while_connected
from app.api.state import READINESS, ready
from app.serving.photos import Outcome, Outcomes, Upload, json_bytes
from app.settings import Settings
from model.inference.processes.blob import Blob

MOST_MB = 10.0  # 10^6 bytes of a request's JSON, and of its answers: Vertex AI carries 1.5, a dedicated endpoint 10
FORMS = 'base64 text, {"b64": TEXT}, {"content": TEXT} or {"image_bytes": {"b64": TEXT}}'
EXAMPLE = {"instances": [{"b64": "iVBORw0KGgo="}], "parameters": {"format": "json", "mask": "rle"}}


async def predict(request: Request, service: Ready, query: Parameters) -> Response:
    """Answers one prediction for each instance, in their order: JSON as of `/segment?format=json`, or as `parameters` ask.

    Parameters have the names and values of the query. The first instance that cannot be answered fails the whole request. A
    body that is not JSON is an image, and is answered as by `/segment`.
    """
    if media_type(request) != "application/json":
        return await segment_image(request, service, query)
    body = RequestBody(request, service, min(MOST_MB, service.settings.max_upload_mb))
    document = await read_json(body, content := await body.read(JSON_COPIES), EXAMPLE)
    instances = document.values.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRequest(f"the JSON has no list `instances` of images; send {json.dumps(EXAMPLE)}")
    check_number(len(instances))
    query = json_values(query, document.values.get("parameters"))
    query = {"format": "json", **query}
    rendering = make_options(service.settings, query, DEFAULT_NAME).rendering  # raises before any image is worked on
    uploads = [Upload(await _image(document, index, instance)) for index, instance in enumerate(instances)]
    content.close()
    del document, instances  # an attacker decides what else they hold
    outcomes = image_outcomes(request, service, query, uploads, [DEFAULT_NAME] * len(uploads))
    predictions = await while_connected(request, _predictions(outcomes, body, is_json=rendering.is_json))
    body.set_memory(0)
    body.reservation.release(len(predictions))
    return AnswerResponse(Blob(predictions, length=len(predictions)), "application/json", headers={})


def vertex_ai_router(settings: Settings) -> APIRouter:
    """The health and the predict route. Vertex AI sends requests only while the health route is 200, that is, while ready."""
    router = APIRouter(tags=["Vertex AI"])
    router.add_api_route(settings.vertex_health_route, ready, name="platform_health", summary="Readiness", responses=READINESS)
    upload = upload_body()
    upload["requestBody"]["content"]["application/json"] = {"schema": {"type": "object"}, "example": EXAMPLE}
    router.add_api_route(
        settings.vertex_predict_route, predict, methods=["POST"], name="platform_predict", summary="Segment instances",
        **SEGMENT_ROUTE | {"openapi_extra": upload},
    )  # fmt: skip
    return router


async def _predictions(outcomes: Outcomes, body: RequestBody, *, is_json: bool) -> bytes:
    """The JSON of all predictions. Raises the `Problem` of the first instance that has one, or `TooLarge`.

    is_json: whether the answers are JSON; others become base64. Their bytes so far count as those of the request's body.
    """
    predictions, size = [], 0
    async with aclosing(outcomes):
        async for outcome in outcomes:
            if outcome.failure:
                problem = to_problem(outcome.failure.error)
                error = type(problem)(f"instances[{outcome.index}]: {problem.detail}", problem.headers)
                error.reason = None  # it is counted already
                raise error
            prediction = outcome.body if is_json else await asyncio.to_thread(_as_text, outcome)
            size += len(prediction)
            if size > MOST_MB * 1e6:
                message = f"the predictions are larger than {MOST_MB:g} MB in all"
                raise TooLarge(f"{message}; send fewer instances, or ask for a smaller format, such as png or mask=rle")
            body.set_memory(size)
            predictions.append(prediction)
    return b'{"predictions":[' + b",".join(predictions) + b"]}"


def _as_text(outcome: Outcome) -> bytes:
    """The JSON of an answer that is not JSON: `b64`, its bytes, and of a cut-out the `box` of its object."""
    box = {name: value for name, value in outcome.facts.items() if name == "box"}
    return json_bytes({"b64": base64.b64encode(outcome.body).decode()} | box)


async def _image(document: JsonBody, index: int, instance: object) -> Blob:
    """The bytes of an instance's image. Raises `BadRequest`."""
    value = instance
    if isinstance(value, dict):
        value = value.get("image_bytes", value.get("content", value))
    if isinstance(value, dict):
        value = value.get("b64")
    if not isinstance(value, str):
        raise BadRequest(f"instances[{index}]: no image; write it as {FORMS}")
    return await document.image(value, f"instances[{index}]: its text is not base64", f"write the image as {FORMS}")
