"""The service behind the routes: loads the network, tells its state, and takes jobs to their answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import torch

from app.catalogue import Catalogue
from app.doorkeeper import Arrivals
from app.engine import Engine
from app.engine_errors import QueueFull
from app.jobs import Corridor, Job
from app.pools import Pools
from app.settings import Settings
from app.telemetry import Metrics
from model.predictor import Predictor
from model.segmentation import Options

log = logging.getLogger("segment")
LONGEST_REST_S = 0.01
REST = 0.1  # of the time that images wait for a thread


class Service:
    """The networks and their engines; its states are starting, ready, draining, failed and stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.draining = False
        self.in_flight = 0
        self.arrivals = Arrivals()
        self.metrics = Metrics(lambda: self.queued_tiles, lambda: float(self.not_ready is None))
        self.pools = Pools(settings.cpu_threads)
        self.catalogue = Catalogue(settings, self.pools, self.metrics.batch)
        self._loading = threading.Lock()
        self._loader = threading.Thread(target=self._load, name="loader", daemon=True)

    def start(self) -> None:
        """Loads and warms up in the background, so that health checks are answered meanwhile."""
        self._loader.start()

    def stop(self) -> None:
        self.draining = True
        if self._loader.is_alive():
            self._loader.join()
        self.catalogue.stop()
        self.pools.shutdown()

    def reload(self) -> None:
        """Reads the weights files again in the background; requests go on. Where that fails, all stays as it was."""
        threading.Thread(target=self._reload, name="reloader", daemon=True).start()

    def _load(self) -> None:
        torch.set_num_threads(self.settings.cpu_threads)
        if error := self._read_weights("ready"):
            self.failure = f"the network could not be loaded: {error}"
            log.critical(self.failure)
            self.on_failure()

    def _reload(self) -> None:
        if error := self._read_weights("reloaded"):
            log.error("not reloaded: %s; the networks that were loaded are served on", error)

    def _read_weights(self, message: str) -> str | None:
        """What went wrong, or None."""
        started = time.perf_counter()
        with self._loading:
            try:
                self.catalogue.load()
            except (ValueError, RuntimeError, OSError) as error:
                return str(error)
        seconds = round(time.perf_counter() - started, 2)
        for name, corridor in self.catalogue.corridors.items():
            predictor = corridor.predictor
            facts = {"device": str(predictor.device), "dtype": predictor.dtype_name, "sha256": predictor.weights.sha256}
            log.info(message, extra={"fields": {"model": name, "seconds": seconds} | facts})
        return None

    @property
    def corridors(self) -> list[Corridor]:
        return list(self.catalogue.corridors.values())

    @property
    def engine(self) -> Engine | None:
        """The default model's."""
        return self.corridors[0].engine if self.corridors else None

    @property
    def predictor(self) -> Predictor | None:
        """The default model's."""
        return self.corridors[0].predictor if self.corridors else None

    @property
    def queued_tiles(self) -> int:
        return sum(corridor.engine.queued_tiles for corridor in self.corridors)

    @property
    def not_live(self) -> str | None:
        """Why the process cannot recover by itself, or None."""
        if self.failure:
            return self.failure
        if not self.corridors and self._loader.ident and not self._loader.is_alive():
            return "the loading of the network has ended without a network"
        broken = [corridor.engine for corridor in self.corridors if not corridor.engine.alive]
        if broken and not self.draining:
            return broken[0].failure or "the inference thread has ended"
        return None

    @property
    def not_ready(self) -> str | None:
        """Why no image is taken now, or None."""
        if self.draining:
            return "draining: the service is stopping"
        if not self.corridors:
            return self.not_live or "starting: weights are being loaded and warmed up"
        return self.not_live

    @property
    def rest_s(self) -> float:
        """For how long the event loop may rest now: threads have enough to do meanwhile, and no body is on its way."""
        return 0.0 if self.arrivals.soon else min(LONGEST_REST_S, REST * self.pools.lone.delay_s)

    def options(self, **given: object) -> Options:
        """The settings' options, with what a request gives instead."""
        chosen = {name: value for name, value in given.items() if value is not None}
        defaults = {"tile": self.settings.tile_size, "overlap": self.settings.overlap, "blend": self.settings.blend}
        return Options(**(defaults | chosen))  # type: ignore[arg-type]

    def deadline(self) -> float:
        return time.monotonic() + self.settings.request_timeout_s

    def refusal(self) -> QueueFull | None:
        """Why no image at all would be taken: worth knowing before one is read. None where one would be."""
        corridors, limit = self.catalogue.corridors.values(), self.settings.max_queued_tiles
        full: QueueFull | None = None
        for corridor in corridors:
            admission = corridor.engine.admission
            if self.in_flight >= limit:
                stated = f"{self.in_flight} requests are waiting and at most {limit} tiles are taken"
                return QueueFull(f"{stated}; try again later", admission.retry_after(self.in_flight))
            full = admission.refusal(self.deadline(), self.arrivals.soon)
            if not full:
                return None
        return full

    def peek(self, job: Job) -> bool:
        """Whether the event loop itself may `admit` it: that takes no more than some milliseconds, whatever came."""
        return self.catalogue.pick(job.model).peek(job)

    def admit(self, job: Job) -> None:
        """Lets the job in, before its image is decoded; blocks for a moment. `finish` is for every job let in."""
        job.corridor = self.catalogue.enter(job.model)
        try:
            job.corridor.admit(job)
        except BaseException:
            job.corridor.leave()
            raise

    def hand_over(self, job: Job, answer: Future[bytes]) -> None:
        """Processes an admitted job on a thread of `pools`, and finishes it once that is done with it, or nobody waits for
        the answer before it begins."""
        # not when nobody waits any more: until its thread is done with it, it takes room
        answer.add_done_callback(lambda _: self.finish(job))
        job.admitted_to.hand_over(job, answer)

    def finish(self, job: Job) -> None:
        job.admitted_to.finish(job)
        job.admitted_to.leave()

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        job.cancelled = True
        if job.corridor:
            job.corridor.cancel(job)
