"""The service's state and lifecycle, and a request's way through it, from an image's bytes to the answer's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial

from app.serving.admission import Admission, Memory, Reservation
from app.serving.errors import NotServing, QueueFull
from app.serving.pool import Pool, R
from app.serving.registry import Model, Registry
from app.serving.scheduler import TileQueue
from app.serving.watchdog import LEAST_STALL_S, Later, Watchdog
from app.settings import Settings
from app.telemetry import Metrics, Reason, State
from model.inference.cores import available_memory
from model.inference.merging import Logits
from model.inference.runtime import Tile, unused_gpu
from model.inference.segmenter import Options, Plan

log = logging.getLogger("segment")
LARGE_MEGAPIXELS = 4.0  # images above it have threads of their own, so that they never keep small ones waiting
DRAINING = "draining: the service is stopping"
STAGES = ("decode", "queue", "inference", "encode")


@dataclass
class Job:
    """An admitted request: its image, model, plan and reservation, and the seconds of each stage once it is done."""

    data: bytes
    model: Model
    plan: Plan
    reservation: Reservation
    queue: TileQueue
    admitted: float
    taken_bytes: int
    done: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def milliseconds(self) -> dict[str, float]:
        return {stage: round(self.seconds.get(stage, 0.0) * 1000, 1) for stage in STAGES}


class Service:
    """Models, admission and threads; its states are starting, ready, ending, draining, failed and stopped.

    `ending`: it is to end soon, so it is not ready, and still takes images, since balancers have yet to see that.
    `draining`: it takes no more images, and those under way end.

    `prepare` and `submit` are for any thread, `in_flight` for the event loop's alone. Jobs run on two pools of threads, for
    small and for large images; their tiles go through the model's scheduler, whose threads run the network.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.api_keys = settings.read_api_keys()
        self.started = time.monotonic()
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.warning = unused_gpu() if settings.devices == ("auto",) else None
        self.ending = False
        self.draining = False
        self._stopped = False
        self.in_flight = 0
        self.metrics = Metrics(self.state)
        self.admission = Admission(settings.max_queued_tiles, time.monotonic)
        self.memory = Memory(settings.memory_bytes)
        self.registry = Registry(settings, self.metrics.batch, self.fail)
        cores = settings.cpu_threads
        self._small = Pool(2 * cores + 1, "small")
        self._large = Pool(max(1, cores // 2), "large")
        self._short = Pool(cores + 4, "short")
        self._pools = (self._short, self._small, self._large)
        stall_s = max(LEAST_STALL_S, 2 * settings.request_timeout_s)
        self.watchdog = Watchdog(self.registry.schedulers, self.fail, stall_s=stall_s, pools=self._pools)
        self._loading = threading.Lock()
        self._loader = threading.Thread(target=self._load, name="loader", daemon=True)

    def start(self, later: Later | None = None) -> None:
        """Loads and warms up in the background, so that health checks are answered meanwhile.

        `later` has the event loop call a function, so that the watchdog sees whether it gets on.
        """
        self.watchdog.later = later
        self.watchdog.start()
        self._loader.start()

    def stop(self) -> None:
        """Ends the threads. The loader is not waited for: it stops what it has loaded once it is done."""
        self.draining = self._stopped = True
        self.watchdog.stop()
        self.registry.stop()
        for pool in self._pools:
            pool.stop()

    def reload(self) -> None:
        """Reads the keys' file and the weights files again in the background; requests go on.

        Where one of them cannot be read, what was read from it before stays.
        """
        threading.Thread(target=self._reload, name="reloader", daemon=True).start()

    def fail(self, reason: str) -> None:
        """The process cannot recover by itself: it is live no more, and `on_failure` is to end it. The first reason stays."""
        if self.failure:
            return
        self.failure = reason
        log.critical(reason)
        self.on_failure()

    def reserve(self) -> Reservation:
        """A reservation for a request whose head has come. Raises `QueueFull`; while no model is there, all get one, and what
        is told then is why."""
        return self.admission.reserve(self.deadline())

    def prepare(self, data: bytes, options: Options, model: str | None, reservation: Reservation, deadline: float) -> Job:
        """Admits an image by its header; blocks for a moment. Every job must go to `submit` or `abandon`.

        Raises the errors of imaging, `SideTooLarge`, `TilingError` and those of serving.
        """
        chosen = self.registry.acquire(model)
        try:
            plan = chosen.segmenter.plan(data, options)
            taken = chosen.segmenter.taken_bytes(data, plan)
            self.memory.check(taken)
            self.admission.admit(reservation, plan.tile_count, deadline)
        except BaseException:
            self.registry.release(chosen)
            raise
        return Job(data, chosen, plan, reservation, TileQueue(deadline), time.monotonic(), taken)

    def submit(self, job: Job) -> Future[bytes]:
        """The answer's bytes, made on a thread of a pool.

        Raises `NotServing` where the service has stopped, or where a thread cannot be started, which is the service's failure.
        The job's reservation is given back when its thread is done with it, or when the future is cancelled before that begins.
        """
        pool = self._large if job.plan.megapixels > LARGE_MEGAPIXELS else self._small
        try:
            future = self._on(pool, partial(self._process, job))
        except NotServing:
            self.cancel(job)  # the pool may still have it, for a thread that is there already
            self.abandon(job)
            raise
        future.add_done_callback(lambda _: self.abandon(job))
        return future

    def aside(self, function: Callable[[], R]) -> Future[R]:
        """What a function of milliseconds gives, made on a thread of a pool; raises `NotServing` as `submit` does."""
        return self._on(self._short, function)

    def no_thread(self, error: RuntimeError) -> NotServing:
        """A thread could not be started, which is the service's failure; what to raise for it."""
        self.fail(f"a thread could not be started: {error}")
        return NotServing(self.failure or str(error))

    def _on(self, pool: Pool, function: Callable[[], R]) -> Future[R]:
        def call() -> R:
            try:
                return function()
            except MemoryError as error:
                log.error("out of memory: %s", error)
                raise QueueFull("the service's memory is full; try again later", reason="memory") from error

        try:
            return pool.submit(call)
        except RuntimeError as error:
            if self._stopped:
                raise NotServing(DRAINING, "draining") from error
            raise self.no_thread(error) from error

    def abandon(self, job: Job) -> None:
        """Gives an admitted job's reservation back."""
        self.admission.release(job.reservation, done=job.done)
        self.registry.release(job.model)

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        job.model.scheduler.cancel(job.queue)

    def _process(self, job: Job) -> bytes:
        """From bytes to bytes, on a thread of a pool; raises what `prepare` does, and the scheduler's errors."""
        scheduler = job.model.scheduler
        began = time.monotonic()

        def check() -> None:
            scheduler.check(job.queue)

        def run(tiles: Iterator[Tile]) -> Iterator[Logits]:
            for logits in scheduler.run(job.queue, tiles):
                self.admission.tile_done(job.reservation)
                yield logits

        check()
        with self.memory.working(job.taken_bytes, check):
            waiting = time.monotonic() - began
            output = job.model.segmenter.segment(job.data, job.plan, run, check)
        waited = job.queue.queue_seconds
        job.seconds = output.seconds | {
            "queue": began - job.admitted + waiting + waited,
            "inference": output.seconds["inference"] - waited,
        }
        job.done = True
        self.metrics.segmented(job.plan.size, job.seconds)
        return output.body

    def _load(self) -> None:
        try:
            if error := self._read_weights("ready"):
                self.fail(f"the network could not be loaded: {error}")
        finally:
            if not self.registry.models:  # what was raised goes to the log
                self.fail("the loading of the network has ended without a network")

    def _reload(self) -> None:
        try:
            self.api_keys = self.settings.read_api_keys()
        except ValueError as error:
            log.error("keys are not reloaded: %s; the former ones are asked for", error)
        if reason := self._read_weights("reloaded"):
            log.error("not reloaded: %s; the networks that were loaded are served on", reason)

    def _read_weights(self, message: str) -> str | None:
        """What went wrong, or None."""
        started = time.perf_counter()
        with self._loading:
            try:
                self.registry.load()
                if self._stopped:
                    self.registry.stop()
            except (ValueError, RuntimeError, OSError, ImportError, MemoryError) as error:
                return str(error) or type(error).__name__
        seconds = round(time.perf_counter() - started, 2)
        if self.warning:
            log.warning(self.warning)
        for name, model in self.registry.models.items():
            runtime = model.segmenter.runtime
            facts = {"model": name, "seconds": seconds, **runtime.describe(), "sha256": runtime.identity.sha256}
            log.info(message, extra={"fields": facts})
        return None

    @property
    def queued_tiles(self) -> int:
        return self.admission.queued

    @property
    def not_live(self) -> str | None:
        """Why the process cannot recover by itself, or None."""
        if self.failure:
            return self.failure
        if not self.registry.models and self._loader.ident and not self._loader.is_alive():
            return "the loading of the network has ended without a network"
        return next(filter(None, (model.scheduler.broken for model in self.registry.models.values())), None)

    @property
    def not_ready(self) -> str | None:
        """Why no image should be sent here now, or None."""
        return self.refusal or (DRAINING if self.ending else None)

    @property
    def refusal(self) -> str | None:
        """Why no image is taken now, or None."""
        if self.draining:
            return self.failure or DRAINING
        if not self.registry.models:
            return self.not_live or "starting: weights are being loaded and warmed up"
        return self.not_live

    @property
    def refusal_reason(self) -> Reason:
        """The same in a word, for the metrics, while there is a refusal."""
        if self.not_live:
            return "failed"
        return "draining" if self.draining else "starting"

    def state(self) -> State:
        """For a scrape; any thread."""
        runtimes = [model.segmenter.runtime for model in self.registry.models.values()]
        return State(
            ready=self.not_ready is None,
            queued_tiles=self.queued_tiles,
            max_queued_tiles=self.settings.max_queued_tiles,
            requests_in_flight=self.in_flight,
            request_timeout_s=self.settings.request_timeout_s,
            memory_limit=available_memory(),
            memory_budget=self.memory.limit,
            memory_taken=self.memory.taken,
            models=[asdict(runtime.identity) | {"device": runtime.device} for runtime in runtimes],
        )

    def deadline(self) -> float:
        return time.monotonic() + self.settings.request_timeout_s
