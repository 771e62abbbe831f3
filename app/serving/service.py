"""The service's state and lifecycle, and the path of a request from the image's bytes to the answer's bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from app.serving.admission import Admission, Reservation
from app.serving.budget import Budget, planner_count
from app.serving.clients import Clients
from app.serving.errors import NotServing, QueueFull
from app.serving.job import Answer, Job, kind_of
from app.serving.loader import Loader
from app.serving.rates import Stopwatch
from app.serving.registry import Model, Registry
from app.serving.watchdog import LEAST_STALL_S, Later, Watchdog
from app.settings import Settings
from app.telemetry import Metrics, Reason, ServiceState
from imaging.rendering import Rendering
from model.inference.cores import available_cores, available_memory, child_seconds, resident_memory
from model.inference.errors import Cancelled, DeadlinePassed
from model.inference.merging import Logits
from model.inference.processes.messages import WorkerPlan
from model.inference.processes.worker import Worker
from model.inference.processes.workers import Workers
from model.inference.runtime import DeviceOutOfMemory, Tile
from model.inference.scheduler import TileQueue
from model.inference.segmenter import Options

log = logging.getLogger("segment")
DRAINING = "draining: the service is stopping"
LATE = "no answer within {:g} s; send a smaller image, or try again when the service is less busy"
CLIENT_GONE = "the client went away"


@dataclass(frozen=True)
class _Network:
    """The model that a job uses, and the queue of the job's tiles in its scheduler."""

    model: Model
    queue: TileQueue


class Service:
    """Models, admission and threads. Its states are starting, ready, ending, draining, failed and stopped.

    `ending`: it will stop soon. It reports not ready, but still takes images until load balancers have noticed.
    `draining`: it takes no more images; requests in flight go on to their end.

    Only for the event loop, except `fail`, `stop` and `state`, which any thread may call. Worker processes decode
    images and encode answers; the images' tiles go through the model's scheduler, whose threads run the network.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start_time = time.monotonic()
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.ending = False
        self.draining = False
        self.in_flight = 0
        self.metrics = Metrics(self.state)
        self.clients = Clients()
        self.registry = Registry(settings, self.metrics.batch, self.fail)
        self.loader = Loader(settings, self.registry, self.fail)
        self.workers = Workers(on_death=self.metrics.count_worker_death, on_failure=self.fail)
        large_works = max(1, settings.cpu_threads // 2)
        planners = planner_count(settings.memory_bytes, available_cores())
        self.budget = Budget(settings.memory_bytes, large_works, self.clients, planners)
        self.admission = Admission(
            settings.max_queued_tiles, time.monotonic, clients=self.clients, workers=self.workers.count,
            large_lanes=large_works,
        )  # fmt: skip
        self._planning = asyncio.Semaphore(self.budget.planners)
        stall_s = max(LEAST_STALL_S, 2 * settings.request_timeout_s)
        self.watchdog = Watchdog(self.registry.schedulers, self.fail, stall_s=stall_s)
        self._first_worker: asyncio.Task[None] | None = None

    async def start(self, later: Later | None = None) -> None:
        """Starts the workers and, in the background, loads and warms up the models. Health checks are answered meanwhile.

        `later` makes the event loop call a function. The watchdog uses it to check that the loop makes progress.
        """
        self.watchdog.later = later
        self.watchdog.start()
        self._first_worker = asyncio.create_task(self.workers.start())
        self.loader.start()

    async def stop(self) -> None:
        """Ends threads and workers. Does not wait for the loader: once it is done, it stops the models that it has loaded."""
        self.draining = True
        self.loader.stop()
        self.watchdog.stop()
        if self._first_worker:
            self._first_worker.cancel()
        await self.workers.stop()
        await asyncio.to_thread(self.registry.stop)

    def fail(self, reason: str) -> None:
        """Marks the process as not live, because it cannot recover by itself, and calls `on_failure` to end it.

        Only the first call has an effect; its reason stays.
        """
        if self.failure:
            return
        self.failure = reason
        log.critical(reason)
        self.on_failure()

    def reserve(self, client: str = "") -> Reservation:
        """Makes a reservation for a request of this client whose head has arrived. Raises `QueueFull`.

        It does not need a model: before one is loaded, the route answers 503 with the reason.
        """
        return self.admission.reserve(self.deadline(), client)

    async def segment(self, job: Job, deadline: float, disconnect: asyncio.Future[None] | None = None) -> Answer:
        """Segments the job's image. `disconnect` is done once the client has disconnected.

        The work ends at once when `disconnect` is done (`Cancelled`), when the deadline passes (`DeadlinePassed`), or when this
        call is cancelled. In every case it closes the image's body and releases the reservation; the memory of the answer stays
        counted until the caller ends it.

        Raises `UnknownModel`, `NotServing`, `TooManyTiles`, `TooMuchMemory`, `QueueFull`, `InferenceError`s, the errors of a
        `Worker`, and those of the job's `check`.
        """
        work = asyncio.create_task(self._answer(job, deadline))
        futures: set[asyncio.Future[Any]] = {work, disconnect} if disconnect else {work}
        success = False
        try:
            seconds = max(0.0, deadline - time.monotonic())
            await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                if disconnect and disconnect.done():
                    raise Cancelled(CLIENT_GONE)
                raise DeadlinePassed(LATE.format(self.settings.request_timeout_s))
            answer, success = work.result(), True
        except DeviceOutOfMemory as error:
            raise QueueFull(f"{error}; try again later", reason="device_memory") from error
        except MemoryError as error:
            log.error("out of memory: %s", error)
            raise QueueFull("the service's memory is full; try again later", reason="memory") from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
            if not success:
                if not work.cancelled() and not work.exception():  # the answer came too late
                    work.result().body.close()
                self.budget.end(job.reservation.memory)
            job.image.body.close()
            self.admission.release(job.reservation)
            # a raised error refers to this frame; referring back to it from here would be a cycle that keeps memory in use
            del work, futures
        self.metrics.count_segmentation(answer.model, answer.seconds, answer.class_pixels, answer.mean_confidence)
        return answer

    async def _answer(self, job: Job, deadline: float) -> Answer:
        """Answers with the requested model, which stays in service until the answer is ready."""
        self.admission.arrive(job.reservation)
        model, queue = self.registry.acquire(job.model), TileQueue(deadline)
        try:
            return await self._plan_and_work(job, _Network(model, queue))
        finally:
            model.scheduler.cancel(queue)
            self.registry.release(model)

    async def _plan_and_work(self, job: Job, network: _Network) -> Answer:
        """Plans the image and works on it in the same worker.

        If the work has to wait for memory, the worker is released meanwhile; then another worker plans the image again.
        """
        memory, image, deadline = job.reservation.memory, job.image, network.queue.deadline
        async with self.workers.claim(deadline) as worker:
            plan = await self._plan(worker, job, network)
            kind = kind_of(job, plan)
            needed_bytes = plan.bytes + image.body.length
            try:
                job.check(network.model, plan)
                self.budget.check(needed_bytes, self._memory_advice(network.model, plan, image.options))
                self.admission.admit(job.reservation, plan.tile_count, deadline, kind, plan.megapixels)
                has_started = self.budget.start_now(memory, needed_bytes, large=kind.large)
            except Exception:
                worker.drop()
                raise
            admission_time = time.monotonic()
            if has_started:
                return await self._work(worker, job, network, plan, admission_time)
            worker.drop()
        self.budget.hold_body(memory, image.body.length)
        await self.budget.start(memory, needed_bytes, large=kind.large)
        async with self.workers.claim(deadline) as worker:
            return await self._work(worker, job, network, await self._plan(worker, job, network), admission_time)

    async def _plan(self, worker: Worker, job: Job, network: _Network) -> WorkerPlan:
        async with self._planning:
            return await worker.plan(job.image, network.model.description, network.model.scheduler.ahead)

    async def _work(self, worker: Worker, job: Job, network: _Network, plan: WorkerPlan, admission_time: float) -> Answer:
        memory, queue = job.reservation.memory, network.queue
        # the worker has its own copy
        job.image.body.close()
        self.budget.hold_body(memory, 0)
        began, in_network = time.monotonic(), Stopwatch(time.monotonic)

        def count_tile(future: asyncio.Future[Logits]) -> None:
            is_done = not future.cancelled() and not future.exception()
            in_network.end()
            self.admission.tile_rate.end(is_done=is_done)
            if is_done:
                self.admission.count_tile(job.reservation)

        def submit(tile: Tile) -> asyncio.Future[Logits]:
            in_network.begin()
            self.admission.tile_rate.begin()
            future = asyncio.wrap_future(network.model.scheduler.submit(queue, tile))
            future.add_done_callback(count_tile)
            return future

        answer = await worker.work(plan.bytes, submit)
        own_seconds = time.monotonic() - began - in_network.seconds
        self.admission.worker_seconds.learn(kind_of(job, plan), plan.megapixels, own_seconds)
        self.budget.hold_answer(memory, answer.body.length)
        seconds = answer.seconds | {
            "queue": began - admission_time + queue.queue_seconds,
            "inference": answer.seconds["inference"] - queue.queue_seconds,
        }
        names = network.model.segmenter.manifest.labels.names
        return Answer(
            body=answer.body,
            encoding=answer.encoding,
            size=plan.size,
            seconds=seconds,
            model=network.model.name,
            class_pixels=dict(zip(names, answer.counts, strict=False)),  # a hostile worker may send more counts than classes
            mean_confidence=answer.mean_confidence,
        )

    def _memory_advice(self, model: Model, plan: WorkerPlan, options: Options) -> str:
        """What a client or the operator can do about an image that takes too much memory."""
        rendering, classes = options.rendering, len(model.segmenter.manifest.labels)
        mask = Rendering()
        needs_more = rendering.needs_photo or rendering.memory_bytes(plan.size, classes) > mask.memory_bytes(plan.size, classes)
        lighter = {
            f"the mask alone (format={mask.format})": needs_more,
            "side=auto": options.side != "auto",
            "quality=standard": options.quality != "standard",
            "no min_area and fill_holes": options.replaces_regions,
        }
        ways = [way for way, helps in lighter.items() if helps]
        advice = f"send a smaller one{', or ask for ' + ' or '.join(ways) if ways else ''}"
        setting = "SEGMENT_MEMORY_MB" if self.settings.memory_mb else "SEGMENT_MEMORY_MB, or the container's limit of memory"
        return f"{advice}; the operator can raise {setting}"

    def thread_failure(self, error: RuntimeError) -> NotServing:
        """Fails the service because a thread could not be started. Returns the error to raise."""
        self.fail(f"a thread could not be started: {error}")
        return NotServing(self.failure or str(error))

    def is_ending(self) -> bool:
        """Whether clients should open their next connection elsewhere."""
        return self.ending or self.draining

    @property
    def queued_tiles(self) -> int:
        return self.admission.queued_tiles

    @property
    def not_live(self) -> str | None:
        """Why the process cannot recover by itself, or None."""
        if self.failure:
            return self.failure
        if not self.registry.models:
            return self.loader.problem
        return next(filter(None, (model.scheduler.problem for model in self.registry.models.values())), None)

    @property
    def _has_worker(self) -> bool:
        """Whether the first worker has started."""
        return self._first_worker is not None and self._first_worker.done()

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
        if not self._has_worker:
            return self.not_live or "starting: the first worker process is being started"
        return self.not_live

    @property
    def refusal_reason(self) -> Reason:
        """The reason of `refusal` for the metrics. Only valid while there is a refusal."""
        if self.not_live:
            return "failed"
        return "draining" if self.draining else "starting"

    def state(self) -> ServiceState:
        """The state for a scrape of the metrics. Any thread may call it."""
        runtimes = [model.segmenter.runtime for model in self.registry.models.values()]
        return ServiceState(
            ready=self.not_ready is None,
            queued_tiles=self.queued_tiles,
            max_queued_tiles=self.settings.max_queued_tiles,
            queue_seconds=self.admission.queue_seconds,
            requests_in_flight=self.in_flight,
            request_timeout_s=self.settings.request_timeout_s,
            memory_limit=available_memory(),
            memory_budget=self.budget.limit,
            used_memory=self.budget.used_bytes,
            memory_resident=resident_memory(),
            worker_seconds=child_seconds(),
            models=[asdict(runtime.identity) | {"device": runtime.device} for runtime in runtimes],
        )

    def deadline(self) -> float:
        """The deadline, on `time.monotonic`, of a request that starts now."""
        return time.monotonic() + self.settings.request_timeout_s
