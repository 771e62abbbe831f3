"""The service behind the routes: loads the network, tells its state, and takes jobs to their answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from app.doorkeeper import Arrivals
from app.engine import Engine
from app.engine_errors import EngineStopped, QueueFull
from app.jobs import Corridor, Job
from app.pools import Pools
from app.settings import Settings
from app.telemetry import Metrics
from imaging.decoding import Limits
from model.lanes import Lanes
from model.predictor import Predictor
from model.segmentation import Options
from model.weights_file import Weights, load_weights

log = logging.getLogger("segment")


class Service:
    """One network and its engine; its states are starting, ready, draining, failed and stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.corridor: Corridor | None = None
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.draining = False
        self.in_flight = 0
        self.arrivals = Arrivals()
        self.metrics = Metrics(lambda: self.queued_tiles, lambda: float(self.not_ready is None))
        self.pools = Pools(settings.cpu_threads)
        self._loader = threading.Thread(target=self._load, name="loader", daemon=True)

    def start(self) -> None:
        """Loads and warms up in the background, so that health checks are answered meanwhile."""
        self._loader.start()

    def stop(self) -> None:
        self.draining = True
        if self._loader.is_alive():
            self._loader.join()
        if self.engine:
            self.engine.stop()
        self.pools.shutdown()

    def _load(self) -> None:
        started = time.perf_counter()
        try:
            torch.set_num_threads(self.settings.cpu_threads)
            weights = load_weights(Path(self.settings.weights))
            lanes = [self._lanes(weights, device) for device in self.settings.devices]
        except (ValueError, RuntimeError, OSError) as error:
            self.failure = f"the network could not be loaded: {error}"
            log.critical(self.failure)
            self.on_failure()
            return
        predictor = lanes[0].predictor
        engine = self._start_engine(lanes)
        self.corridor = Corridor(predictor, engine, Limits(self.settings.max_megapixels), self.pools)
        seconds = round(time.perf_counter() - started, 2)
        fields = {"model": weights.name, "device": str(predictor.device), "dtype": predictor.dtype_name, "seconds": seconds}
        log.info("ready", extra={"fields": fields})

    def _lanes(self, weights: Weights, device: str) -> Lanes:
        predictor = Predictor(weights, device, self.settings.dtype, graphs=self.settings.cuda_graphs)
        lanes = Lanes(predictor, self.settings.cpu_threads, self.pools.slots)
        predictor.warm_up(self.settings.tile_size)
        return lanes

    def _start_engine(self, lanes: list[Lanes]) -> Engine:
        settings = self.settings
        engine = Engine(
            [lane for each in lanes for lane in each.each()],
            max_batch_tiles=min(settings.max_batch_tiles, lanes[0].batch_tiles or settings.max_batch_tiles),
            batch_wait_s=settings.batch_wait_ms / 1000,
            max_queued_tiles=settings.max_queued_tiles,
            on_batch=self.metrics.batch,
        )
        engine.start()
        return engine

    @property
    def engine(self) -> Engine | None:
        return self.corridor.engine if self.corridor else None

    @property
    def predictor(self) -> Predictor | None:
        return self.corridor.predictor if self.corridor else None

    @property
    def queued_tiles(self) -> int:
        return self.engine.queued_tiles if self.engine else 0

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

    def check_room(self) -> None:
        """Raises `QueueFull` where no image at all would be taken: worth knowing before one is read."""
        if self.corridor is None:
            return
        limit = self.settings.max_queued_tiles
        if self.in_flight >= limit:
            stated = f"{self.in_flight} requests are waiting and at most {limit} tiles are taken"
            raise QueueFull(f"{stated}; try again later", retry_after=2)
        self.corridor.engine.admission.check(self.deadline(), self.arrivals.soon)

    def admit(self, job: Job) -> None:
        """Lets the job in, before its image is decoded; blocks for a moment. `finish` is for every job let in."""
        self._corridor.admit(job)

    def process(self, job: Job) -> bytes:
        """The answer's bytes; blocks, so it runs on a thread of `pools`."""
        return self._corridor.process(job)

    def finish(self, job: Job) -> None:
        self._corridor.finish(job)

    def cancel(self, job: Job) -> None:
        self._corridor.cancel(job)

    @property
    def _corridor(self) -> Corridor:
        if self.corridor is None:
            raise EngineStopped(self.not_ready or "starting")
        return self.corridor
