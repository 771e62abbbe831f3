"""Request ids, JSON log lines, and Prometheus metrics."""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "x-request-id"
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
log = logging.getLogger("segment")


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self, queued_tiles: Callable[[], float], ready: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("segment_requests", "Answered requests", ["route", "method", "status"], registry=self.registry)
        self.seconds = Histogram(
            "segment_request_seconds", "Seconds from a request's head to its answer's end", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._series = cache(self._named)  # to look labels up costs more than to count
        self.stages = Histogram(
            "segment_stage_seconds", "Seconds of a request in each stage", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self.pixels = Counter("segment_pixels", "Pixels of segmented images", registry=self.registry)
        self.tiles = Counter("segment_tiles", "Tiles that the network has run", registry=self.registry)
        self.batch_tiles = Histogram(
            "segment_batch_tiles", "Tiles in a batch", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.batch_seconds = Histogram("segment_batch_seconds", "Seconds of a batch", buckets=SECONDS, registry=self.registry)
        Gauge("segment_queued_tiles", "Tiles admitted and not done", registry=self.registry).set_function(queued_tiles)
        Gauge("segment_ready", "1 when ready", registry=self.registry).set_function(ready)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        requests, times = self._series(route, method, status)
        requests.inc()
        times.observe(seconds)

    def _named(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, method, str(status)), self.seconds.labels(route)

    def batch(self, tiles: int, seconds: float) -> None:
        self.tiles.inc(tiles)
        self.batch_tiles.observe(tiles)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class RequestTelemetry:
    """ASGI middleware: gives each request an id, for inner layers in its headers and state; logs and counts its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        request_id = headers[REQUEST_ID] = sane_request_id(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            account(self.metrics, scope, request_id, status, time.perf_counter() - started)


def account(metrics: Metrics, scope: Scope, request_id: str, status: int, seconds: float) -> None:
    """Counts an answered request, and logs it with what its state tells as `log`."""
    route = getattr(scope.get("route"), "path", "other")
    method = scope["method"] if scope["method"] in METHODS else "other"
    metrics.answered(route, method, status, seconds)
    if not log.isEnabledFor(logging.INFO):
        return
    fields = {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    log.info("request", extra={"fields": fields | scope["state"].get("log", {})})


def sane_request_id(given: str | None) -> str:
    """The given id where it is 1 to 128 letters, digits, dots, dashes or underscores, else a new one."""
    return given if given and SANE_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Time, level, message, and the fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={json.dumps(value)}" for key, value in getattr(record, "fields", {}).items())
        return f"{super().format(record)} {fields}".rstrip()


def configure_logging(format: str, level: str) -> None:
    """Sends the service's and uvicorn's log lines to stderr, in this format, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextFormatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if format == "json" else text)
    for name in ("segment", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([handler] if name != "uvicorn.error" else []), name == "uvicorn.error"
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True
