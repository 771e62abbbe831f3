"""Prometheus metrics, and the format of log lines."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from math import inf
from typing import Any, Literal, get_args

from anyio.to_thread import run_sync
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from common.printable import printable
from model.inference.processes.worker import DEATH_REASONS

FIELD_LENGTH = 300  # characters of a field in a log line
TEXT_LENGTH = 8000  # characters of a message or a traceback in a log line
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")  # by tens of a level
PAUSES = 2  # times as long as a text of metrics took, none is begun
REPEAT_S = 60.0  # seconds until a repeated message of uvicorn or asyncio is logged again
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
CONFIDENCES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1)

Reason = Literal[
    "full", "deadline", "memory", "device_memory", "disk", "worker", "starting", "draining", "failed", "timeout", "key",
    "slow_upload", "too_large", "type", "damaged", "parameter", "empty", "request", "not_acceptable",
]  # fmt: skip
"""Why an image was not segmented; `docs/operate.md` says what each means."""
REASONS: tuple[Reason, ...] = get_args(Reason)


class Metrics:
    """The metrics of the service and its process, in their own registry. state: those of the service's present state."""

    def __init__(self, state: Collector) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(state)
        counter, histogram = partial(Counter, registry=self.registry), partial(Histogram, registry=self.registry)
        self.requests = counter("segment_requests", "Answered requests", ["route", "method", "status"])
        description = "Seconds from a request's head to its answer's end"
        self.seconds = histogram("segment_request_seconds", description, ["route"], buckets=SECONDS)
        self.rejections = counter("segment_rejected", "Images that were not segmented", ["reason"])
        self.stages = histogram("segment_stage_seconds", "Seconds of a request in each stage", ["stage"], buckets=SECONDS)
        self.pixels = counter("segment_pixels", "Pixels of segmented images")
        self.class_pixels = counter("segment_class_pixels", "Pixels of each class in segmented images", ["model", "class"])
        self.pixels_of_class = cache(self.class_pixels.labels)  # `labels` takes a lock, for each class of each image
        description = "Mean confidence of an image's pixels"
        self.confidence = histogram("segment_mean_confidence", description, ["model"], buckets=CONFIDENCES)
        self.tiles = counter("segment_tiles", "Tiles that the network has run")
        self.batch_tiles = histogram("segment_batch_tiles", "Tiles in a batch", buckets=(1, 2, 4, 8, 16, 32, 64))
        self.worker_deaths = counter("segment_worker_deaths", "Worker processes that ended or were ended", ["reason"])
        self.batch_seconds = histogram("segment_batch_seconds", "Seconds of a batch", buckets=SECONDS)
        self.busy_seconds = counter("segment_network_seconds", "Seconds with a batch in the network")
        self._next: asyncio.Task[bytes] | None = None  # text that is not begun
        self._making, self._pause_end = asyncio.Lock(), 0.0
        for family, reasons in ((self.rejections, REASONS), (self.worker_deaths, DEATH_REASONS)):
            for reason in reasons:
                family.labels(reason)  # starts each counter at 0, so that a rate includes the first

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a request. status: 499 if its client disconnected before the answer."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def count_segmentation(
        self, model: str, seconds: Mapping[str, float], class_pixels: Mapping[str, int], mean_confidence: float | None
    ) -> None:
        """Counts a segmented image. seconds: of each stage. class_pixels: of every class of the model, by name.

        mean_confidence: 0 to 1; None if the answer did not need it.
        """
        for stage, stage_seconds in seconds.items():
            self.stages.labels(stage).observe(stage_seconds)
        for name, pixels in class_pixels.items():
            counter = self.pixels_of_class(model, name)
            if pixels:
                counter.inc(pixels)
        self.pixels.inc(sum(class_pixels.values()))
        if mean_confidence is not None:
            self.confidence.labels(model).observe(mean_confidence)

    def batch(self, tiles: int, seconds: float, busy_seconds: float) -> None:
        """Counts a batch that the network has run. busy_seconds: those in which any batch ran, since the last call."""
        self.tiles.inc(tiles)
        self.batch_tiles.observe(tiles)
        self.batch_seconds.observe(seconds)
        self.busy_seconds.inc(busy_seconds)

    async def scrape(self) -> bytes:
        """The metrics as text, made after the call. All that call before it is begun share it. Only for the event loop.

        One is made at a time, in a thread, and for a third of the time: it takes the interpreter, which requests need.
        """
        if not self._next:
            self._next = asyncio.create_task(self._make_next())
        return await asyncio.shield(self._next)

    async def _make_next(self) -> bytes:
        async with self._making:
            await asyncio.sleep(self._pause_end - time.monotonic())
            self._next, start = None, time.monotonic()
            text = await run_sync(generate_latest, self.registry)
            self._pause_end = time.monotonic() + PAUSES * (time.monotonic() - start)
            return text


def time_of(record: logging.LogRecord) -> str:
    """When it was logged, as RFC 3339 writes it, with milliseconds."""
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """Formats a log record as one JSON object on one line. `severity` is Google's word for the level."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time_of(record),
            "level": record.levelname.lower(),
            "severity": SEVERITIES[min(record.levelno // 10, 5)],
            "message": record.getMessage()[:TEXT_LENGTH],
            **_fields(record),
        }
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Formats a log record on one line: time, level, message, and the fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={json.dumps(value)}" for key, value in _fields(record).items())
        message = printable(record.getMessage(), TEXT_LENGTH)
        return f"{time_of(record)} {record.levelname} {message} {fields}".rstrip()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The record's fields, long strings cut to `FIELD_LENGTH`. `exception` has the end of the traceback, if there is one."""
    fields: dict[str, Any] = {
        key: value[:FIELD_LENGTH] + "..." if isinstance(value, str) and len(value) > FIELD_LENGTH else value
        for key, value in getattr(record, "fields", {}).items()
    }
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)[-TEXT_LENGTH:]
    return fields


class OnceAMinute(logging.Filter):
    """Lets a message through once a minute, whatever its arguments. Its field `left_out` counts those dropped before it.

    For loggers whose messages clients can cause, so that clients cannot fill the log. Any thread may log; of two messages at
    the same moment, both may go through.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = f"{record.name}:{record.pathname}:{record.lineno}", self._clock()
        if now - self._latest.get(key, -inf) < REPEAT_S:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return False
        self._latest[key] = now
        if left_out := self._left_out.pop(key, 0):
            record.fields = {**getattr(record, "fields", {}), "left_out": left_out}
        return True


def configure_logging(format: str, level: str) -> None:
    """Sends the log lines of the service, uvicorn and asyncio to stderr, in this format and from this level on.

    format: `json`, `text`, or `auto`: text if stderr is a terminal, else JSON. A repeated message of uvicorn or asyncio
    is logged once a minute. If a C library crashes, Python writes to stderr where its threads were. It changes the logging of
    the whole process.
    """
    if sys.__stderr__:  # else the process was started without it
        faulthandler.enable(sys.__stderr__)
    handler = logging.StreamHandler(sys.stderr)
    as_text = format == "text" or (format == "auto" and sys.stderr is not None and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    once = OnceAMinute()
    for name in ("segment", "uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([handler] if name != "uvicorn.error" else []), name == "uvicorn.error"
        logger.filters = [] if name in ("segment", "uvicorn") else [once]
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True
    # the request's own log line reports a form or an image that cannot be read
    for name in ("python_multipart", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
