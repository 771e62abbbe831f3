"""The contract of X-AnyLabeling's remote models: `GET /v1/models`, `GET /v1/models/{id}/info` and `POST /v1/predict`.

From what version 4.2 of the tool sends and reads. It does not read `success` and `error`: it shows the `description` of an
answer, and removes a photo's labels for every answer of another status than 200, unless the user keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from app.api.body import DEFAULT_NAME, IMAGE_COPIES, JSON_COPIES, RequestBody, read_json
from app.api.errors import SEGMENT_PROBLEMS, BadParameter, BadRequest, NotFound, document, to_problem
from app.api.query import Query, make_options, with_values
from app.api.schemas import problem_responses
from app.api.security import check_key
from app.api.segment import Ready, answer_image
from app.api.state import LISTING
from app.serving.registry import Model
from app.serving.service import Service
from common.printable import excerpt
from imaging.classes import is_background
from model.inference.plan import Options

EXAMPLE = {"model": "NAME", "image": "data:image/png;base64,iVBORw0KGgo=", "params": {"conf_threshold": 0.5}}
AS_STATUS = (401, 499, 500, 503)  # all other problems are answers of 200
WIDGETS = [
    {"name": "button_run"}, {"name": "button_classes_filter"}, {"name": "toggle_preserve_existing_annotations"},
    {"name": "input_conf"}, {"name": "edit_conf", "value": 0.0},
    {"name": "mask_fineness_slider", "value": 10}, {"name": "mask_fineness_value_label"},  # of 1 to 100: a share of 0.001
]  # fmt: skip
"""What the tool's window shows for a model."""
PARAMETERS = {"conf_threshold": "min_confidence", "epsilon_factor": "tolerance"}
"""The tool's parameters, and whose values they have. The latter is a share of an outline's length here."""


class FailureRoute(APIRoute):
    """Problems but those of `AS_STATUS` become answers of 200 with `success` false, which keep the photo's labels."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_failures(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                problem, state = to_problem(error), request.state
                if problem.status in AS_STATUS:
                    raise
                state.answer_fields = problem.log
                message = document(type(problem), problem.detail, state.request_id)["detail"]
                data = {"shapes": [], "description": message, "replace": False}
                return JSONResponse({"success": False, "error": {"code": problem.name, "message": message}, "data": data})

        return handle_failures


router = APIRouter(tags=["X-AnyLabeling"], route_class=FailureRoute)


@router.get("/v1/models", summary="The models, for X-AnyLabeling", responses=LISTING)
async def list_models(request: Request) -> dict[str, Any]:
    """Needs a key if the service has keys, so that the tool lists no model that it could not use."""
    service = _service(request)
    service.registry.get()  # raises while there is none
    return {"success": True, "data": {name: _entry(model) for name, model in service.registry.models.items()}}


@router.get("/v1/models/{id}/info", summary="One of them", responses=LISTING | problem_responses([NotFound]))
async def model_info(request: Request, id: str) -> dict[str, Any]:
    return {"success": True, "data": _entry(_service(request).registry.get(id))}


@router.post(
    "/v1/predict", summary="Segment an image, for X-AnyLabeling", response_model=None,
    responses=problem_responses(SEGMENT_PROBLEMS),
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}}}},
)  # fmt: skip
async def predict(request: Request, service: Ready) -> Response:
    """Answers the image's regions as polygons, in the pixels as the file stores them: so the tool shows it, whatever EXIF says.

    A problem of the request is an answer of 200 with `success` false.
    """
    body = RequestBody(request, service, service.settings.max_upload_mb)
    content = await read_json(body, whole := await body.read(JSON_COPIES), EXAMPLE)
    for name in ("model", "image"):
        if not (isinstance(value := content.values.get(name), str) and value):
            raise BadRequest(f"{name}: must be a text, got {excerpt(value)}; send {json.dumps(EXAMPLE)}")
    options = _options(service, content.values.get("params", {}))
    problem = "image: neither base64 nor a data URL of an image"
    photo = await content.image(content.values["image"], problem, f"send {json.dumps(EXAMPLE)}")
    whole.close()
    body.set_memory(IMAGE_COPIES * photo.length)
    return await answer_image(request, service, photo, options, content.values["model"])


def _options(service: Service, params: object) -> Options:
    """What the tool's parameters ask for; those that are not known are ignored. Raises `BadParameter`."""
    if not isinstance(params, dict):
        raise BadParameter(f"params: must be an object of names and values, got {excerpt(params)}")
    names = [] if params.get("filter_classes") is None else params["filter_classes"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadParameter(f"params filter_classes: must be a list of classes' names, got {excerpt(names)}")
    query: Query = {"format": "coco", "mask": "polygons"}
    for name, value in ({"epsilon_factor": 0.001} | params).items():
        if name in PARAMETERS:
            query = with_values(query, [(PARAMETERS[name], value)], f"params {name}, as")
    options = make_options(service.settings, query, DEFAULT_NAME)
    return replace(options, rendering=replace(options.rendering, classes=tuple(names), shapes=True))


def _service(request: Request) -> Service:
    """The service, for a request with a valid key. Raises `Unauthorized`."""
    service: Service = request.app.state.service
    check_key(request, service.registry.api_keys)
    return service


def _entry(model: Model) -> dict[str, Any]:
    names = [label.name for label in model.segmenter.manifest.labels.classes if not is_background(label.name)]
    return {"display_name": model.name, "widgets": WIDGETS, "classes": names, "batch_processing_mode": "default"}
