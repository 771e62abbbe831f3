"""Routes that tell what is served and how it fares: health, classes, info, metrics."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.errors import Unavailable
from app.examples import problem_responses
from app.schemas import Health, Info, LabelEntry, ModelName, State
from app.service import Service
from model.predictor import Predictor

router = APIRouter()
UNAVAILABLE = problem_responses([Unavailable])


@router.get("/health/live", summary="Can the process work?", responses=UNAVAILABLE)
def live(request: Request) -> State:
    """503 once it cannot recover by itself: a dead inference thread, a broken CUDA context."""
    return _state(_service(request).not_live)


@router.get("/health/ready", summary="Can it take an image now?", responses=UNAVAILABLE)
def ready(request: Request) -> State:
    """200 only when the weights are loaded, the warm-up is done, and it is not draining."""
    return _state(_service(request).not_ready)


@router.get("/health", summary="Both, with details", response_model=Health)
def health(request: Request, response: Response) -> Health:
    """Its status is that of ready."""
    service = _service(request)
    response.status_code = 503 if service.not_ready else 200
    return Health(
        live=_describe(service.not_live),
        ready=_describe(service.not_ready),
        device=str(service.predictor.device) if service.predictor else None,
        queued_tiles=service.queued_tiles,
        requests_in_flight=service.in_flight,
        uptime_s=round(time.monotonic() - service.started, 1),
    )


@router.get("/classes", summary="The classes of the model", responses=UNAVAILABLE)
def classes(request: Request) -> list[LabelEntry]:
    """Ids are the pixel values of masks."""
    return [LabelEntry(**entry) for entry in _predictor(request).manifest.labels.to_list()]


@router.get("/info", summary="The model, its scores and the limits", responses=UNAVAILABLE)
def info(request: Request) -> Info:
    """Model, training data, licence, scores, preprocessing, device, limits and versions."""
    predictor, settings = _predictor(request), _service(request).settings
    manifest = predictor.manifest
    limits = ("max_upload_mb", "max_megapixels", "max_queued_tiles", "max_batch_tiles", "request_timeout_s", "upload_timeout_s")
    return Info(
        model=ModelName(**predictor.weights.identity),
        architecture=manifest.architecture.to_dict(),
        license=manifest.license,
        training=_public(manifest.training),
        scores=dict(manifest.scores),
        preprocessing=asdict(manifest.preprocessing),
        temperature=manifest.temperature,
        device=str(predictor.device),
        dtype=predictor.dtype_name,
        tile=settings.tile_size,
        overlap=settings.overlap,
        blend=settings.blend,
        limits={name: getattr(settings, name) for name in limits},
        versions=_versions(),
    )


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(request: Request) -> Response:
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _predictor(request: Request) -> Predictor:
    service = _service(request)
    if service.predictor is None:
        raise Unavailable(service.not_ready or "starting", {"Retry-After": "1"})
    return service.predictor


def _state(reason: str | None) -> State:
    if reason:
        raise Unavailable(reason, {"Retry-After": "1"})
    return State(status="ok")


def _describe(reason: str | None) -> State:
    return State(status="unavailable" if reason else "ok", reason=reason)


def _public(training: Mapping[str, Any]) -> dict[str, Any]:
    return {name: training[name] for name in ("data", "splits", "start", "steps", "hours", "commit") if name in training}


def package_version(name: str = "fcn-segment") -> str:
    """The installed version; `unknown` where the code runs without being installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _versions() -> dict[str, str]:
    names = ("fcn-segment", "torch", "torchvision", "fastapi", "pillow")
    return {"python": platform.python_version()} | {name: package_version(name) for name in names}
