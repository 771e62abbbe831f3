"""The service behind the routes: loads the network, and takes an image's bytes to the answer's bytes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from app.engine import Engine, Ticket
from app.engine_errors import Cancelled, EngineStopped
from app.pixel_budget import PixelBudget
from app.settings import Settings
from app.telemetry import Metrics
from imaging.answer import Answer, Rendering
from imaging.decoding import Limits, decode, read_size
from model.predictor import Predictor
from model.segmentation import Image, Options, Segmentation, plan_image, segment
from model.tiling import TilePlan
from model.weights_file import load_weights

log = logging.getLogger("segment")
WORKERS = 16
LARGEST_AT_ONCE = 4


@dataclass
class Job:
    """One request on its way: what came, what is wanted, and what it took, in seconds a stage."""

    data: bytes
    options: Options
    rendering: Rendering
    deadline: float
    ticket: Ticket | None = None
    cancelled: bool = False
    stages: dict[str, float] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started


class Service:
    """One network and its engine; its states are starting, ready, draining, failed and stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.predictor: Predictor | None = None
        self.engine: Engine | None = None
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.draining = False
        self.in_flight = 0
        self.metrics = Metrics(lambda: self.queued_tiles, lambda: float(self.not_ready is None))
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="request")
        self._loader = threading.Thread(target=self._load, name="loader", daemon=True)
        self._limits = Limits(settings.max_megapixels)
        self._pixels = PixelBudget(int(settings.max_megapixels * 1e6) * LARGEST_AT_ONCE)

    def start(self) -> None:
        """Loads and warms up in the background, so that health checks are answered meanwhile."""
        self._loader.start()

    def stop(self) -> None:
        self.draining = True
        if self._loader.is_alive():
            self._loader.join()
        if self.engine:
            self.engine.stop()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> None:
        started = time.perf_counter()
        try:
            torch.set_num_threads(self.settings.cpu_threads)
            weights = load_weights(Path(self.settings.weights))
            predictor = Predictor(weights, self.settings.device, self.settings.dtype)
            predictor.warm_up(self.settings.tile_size)
        except (ValueError, RuntimeError, OSError) as error:
            self.failure = f"the network could not be loaded: {error}"
            log.critical(self.failure)
            self.on_failure()
            return
        self._start_engine(predictor)
        seconds = round(time.perf_counter() - started, 2)
        fields = {"model": weights.name, "device": str(predictor.device), "dtype": predictor.dtype_name, "seconds": seconds}
        log.info("ready", extra={"fields": fields})

    def _start_engine(self, predictor: Predictor) -> None:
        settings = self.settings
        engine = Engine(
            predictor,
            max_batch_tiles=settings.max_batch_tiles,
            batch_wait_s=settings.batch_wait_ms / 1000,
            max_queued_tiles=settings.max_queued_tiles,
            on_batch=self.metrics.batch,
        )
        engine.start()
        self.predictor, self.engine = predictor, engine

    @property
    def queued_tiles(self) -> int:
        return self.engine.queued_tiles if self.engine else 0

    @property
    def full(self) -> str | None:
        """Why no further request may wait now, or None: each that waits makes at least one tile."""
        limit = self.settings.max_queued_tiles
        return f"{self.in_flight} requests are waiting and at most {limit} tiles are taken" if self.in_flight >= limit else None

    @property
    def not_live(self) -> str | None:
        """Why the process cannot recover by itself, or None."""
        if self.failure:
            return self.failure
        if self.engine is None and self._loader.ident and not self._loader.is_alive():
            return "the loading of the network has ended without a network"
        if self.engine and not self.engine.alive and not self.draining:
            return self.engine.failure or "the inference thread has ended"
        return None

    @property
    def not_ready(self) -> str | None:
        """Why no image is taken now, or None."""
        if self.draining:
            return "draining: the service is stopping"
        if self.engine is None:
            return self.not_live or "starting: weights are being loaded and warmed up"
        return self.not_live

    def options(self, **given: object) -> Options:
        """The settings' options, with what a request gives instead."""
        chosen = {name: value for name, value in given.items() if value is not None}
        defaults = {"tile": self.settings.tile_size, "overlap": self.settings.overlap, "blend": self.settings.blend}
        return Options(**(defaults | chosen))  # type: ignore[arg-type]

    def deadline(self) -> float:
        return time.monotonic() + self.settings.request_timeout_s

    def process(self, job: Job) -> bytes:
        """The answer's bytes; blocks, so it runs on a request thread. Raises the errors of imaging and of the engine."""
        predictor, engine = self.predictor, self.engine
        if predictor is None or engine is None:
            raise EngineStopped(self.not_ready or "starting")
        if job.cancelled:
            raise Cancelled("the request was cancelled before its turn")
        manifest = predictor.manifest
        with job.stage("decode"):
            job.size = read_size(job.data, self._limits)
        job.rendering.check(job.size)
        plan = plan_image(job.size, job.options, manifest.preprocessing.side)
        with self._pixels.taken(job.size[0] * job.size[1]):
            image, result = self._segment(job, predictor, engine, plan)
            with job.stage("encode"):
                return Answer(
                    image, result.class_map, result.confidence, result.mean_confidence, manifest.labels.classes,
                    manifest.labels.palette, predictor.weights.identity, plan.describe(),
                ).encode(job.rendering)  # fmt: skip

    def _segment(self, job: Job, predictor: Predictor, engine: Engine, plan: TilePlan) -> tuple[Image, Segmentation]:
        manifest = predictor.manifest
        ticket = job.ticket = engine.admit(len(plan), job.deadline)
        try:
            ticket.cancelled |= job.cancelled
            engine.check(ticket)
            with job.stage("decode"):
                image = decode(job.data, self._limits)
            temperature = (manifest.temperature or 1.0) if job.rendering.needs_confidence else None
            with job.stage("inference"):
                result = segment(
                    image, plan, lambda tiles: engine.run(ticket, tiles), num_classes=len(manifest.labels),
                    temperature=temperature, check=lambda: engine.check(ticket),
                )  # fmt: skip
        finally:
            engine.release(ticket)
            job.stages["queue"] = ticket.queue_seconds
        job.stages["inference"] -= ticket.queue_seconds
        return image, result

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        job.cancelled = True
        if job.ticket and self.engine:
            self.engine.cancel(job.ticket)
