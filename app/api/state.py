"""Routes about the service itself: health, models, classes, info and metrics."""

from __future__ import annotations

import time
from platform import python_version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.errors import BadParameter, NotFound, Unauthorized, Unavailable
from app.api.query import with_values
from app.api.schemas import Health, LabelEntry, ModelEntry, State, problem_responses
from app.api.security import check_key_if_protected
from app.serving.errors import UnknownModel
from app.serving.jobs.job import available_outputs
from app.serving.service import Service
from common.command_line import package_version
from imaging.palette import display_palette, hex_color
from model.inference.instructions import DECISION
from model.inference.plan import MODEL
from model.inference.segmenter import Segmenter

# health routes are `async`: they run on the event loop, so they answer while all threads are busy
router = APIRouter()
UNAVAILABLE = problem_responses([Unavailable])
LISTING = problem_responses([Unauthorized, Unavailable])
READINESS = problem_responses([NotFound, BadParameter, Unavailable])
PICKING = problem_responses([Unauthorized, BadParameter, Unavailable])
KEY_CHECK = [Depends(check_key_if_protected)]


async def model_parameter(request: Request, model: Annotated[str | None, Query(description=MODEL.about)] = None) -> str | None:
    """The parameter `model` of a route that has no other. Raises `BadParameter`. FastAPI only describes it."""
    name: str | None = with_values({}, request.query_params.multi_items(), "query", {MODEL.name: MODEL}).get(MODEL.name)
    return name


Model = Annotated[str | None, Depends(model_parameter)]


@router.get("/health/live", summary="Liveness", responses=UNAVAILABLE)
async def live(request: Request) -> State:
    """503 once it cannot recover by itself, for example after an inference thread has ended or the CUDA context broke."""
    return _good(_service(request).not_live)


@router.get("/health/ready", summary="Readiness", responses=READINESS)
async def ready(request: Request, model: Model = None) -> State:
    """200 only when all models are loaded and warmed up, and it is not draining. With `model`, of that model alone."""
    service = _service(request)
    try:
        return _good(service.not_ready if model is None else service.model_not_ready(model))
    except UnknownModel as error:
        raise NotFound(str(error)) from error


@router.get("/health", summary="Both, with details")
async def health(request: Request, response: Response) -> Health:
    """The status code is that of `/health/ready`."""
    service = _service(request)
    response.status_code = 503 if service.not_ready else 200
    return Health(
        live=_state(service.not_live),
        ready=_state(service.not_ready),
        device=next((model.segmenter.runtime.device for model in service.registry.models.values()), None),
        queued_tiles=service.admission.queued_tiles,
        requests_in_flight=service.in_flight,
        uptime_s=round(time.monotonic() - service.start_time, 1),
    )


@router.get("/models", summary="The models that are served", responses=LISTING, dependencies=KEY_CHECK)
def models(request: Request) -> list[ModelEntry]:
    """The names are values of the parameter `model`; the first model is the default."""
    _segmenter(request)
    segmenters = [model.segmenter for model in _service(request).registry.models.values()]
    return [
        ModelEntry(**segmenter.identity, default=i == 0, classes=_labels(segmenter)) for i, segmenter in enumerate(segmenters)
    ]


@router.get("/classes", summary="The classes of the model", responses=PICKING, dependencies=KEY_CHECK)
def classes(request: Request, model: Model = None) -> list[LabelEntry]:
    """The ids are the pixel values of masks."""
    return _labels(_segmenter(request, model))


@router.get("/info", summary="The model, its scores and the limits", responses=PICKING, dependencies=KEY_CHECK)
def info(request: Request, model: Model = None) -> dict[str, Any]:
    """Model, training data, licence, scores, preprocessing, device, limits, the outputs of jobs, and versions."""
    service, segmenter = _service(request), _segmenter(request, model)
    settings, manifest = service.settings, segmenter.manifest
    limits = ("max_upload_mb", "max_megapixels", "max_queued_tiles", "max_batch_tiles", "request_timeout_s", "upload_timeout_s")
    training = ("data", "splits", "start", "steps", "hours", "commit")
    versions = {name: package_version(name) for name in ("fcn-segment", "openvino", "torch", "numpy", "fastapi", "pillow")}
    return {
        "model": segmenter.identity,
        "architecture": manifest.architecture.to_dict(),
        "license": manifest.license,
        "training": {name: manifest.training[name] for name in training if name in manifest.training},
        "scores": manifest.scores,
        "preprocessing": manifest.preprocessing.to_dict(),
        "temperature": segmenter.temperature,
        "runtime": segmenter.runtime.describe(),
        "instructions_reason": DECISION.reason or None,
        "warning": service.registry.warning,
        "tile": "whole" if manifest.whole else settings.tile or manifest.preprocessing.tile,
        "overlap": settings.overlap,
        "blend": settings.blend,
        "limits": {name: float(getattr(settings, name)) for name in limits},
        "job_outputs": available_outputs() if settings.jobs_dir else (),
        "versions": {"python": python_version()} | {name: each for name, each in versions.items() if each != "unknown"},
    }


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses=problem_responses([Unauthorized]),
    dependencies=KEY_CHECK,
)
async def metrics(request: Request) -> Response:
    return Response(await _service(request).metrics.scrape(), media_type=CONTENT_TYPE_LATEST)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _segmenter(request: Request, model: str | None = None) -> Segmenter:
    return _service(request).registry.get(model).segmenter


def _labels(segmenter: Segmenter) -> list[LabelEntry]:
    labels = segmenter.manifest.labels
    colors = display_palette(labels.classes)
    return [LabelEntry(**entry, display_color=hex_color(colors[entry["id"]])) for entry in labels.to_list()]


def _state(reason: str | None) -> State:
    return State(status="unavailable" if reason else "ok", reason=reason)


def _good(reason: str | None) -> State:
    """The state without a reason. Raises `Unavailable` for one."""
    if reason:
        raise Unavailable(reason, {"Retry-After": "1"})
    return _state(None)
