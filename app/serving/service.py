"""The service's state and lifecycle, and the path of a request from the image's bytes to the answer's bytes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial

from app.serving.admission import Admission
from app.serving.budget import Budget, planner_count
from app.serving.clients import Client, Clients
from app.serving.errors import NotServing, QueueFull
from app.serving.registry import Loader, Registry
from app.serving.reservation import Reservation
from app.serving.watchdog import LEAST_STALL_S, Later, Watchdog
from app.serving.work import Check, RequestWork
from app.settings import Settings
from app.telemetry import Metrics, Reason, ServiceState
from model.inference.cores import available_cores, available_memory, child_seconds, resident_memory
from model.inference.errors import Cancelled, DeadlinePassed
from model.inference.processes.protocol import Answer, Image
from model.inference.processes.workers import Workers
from model.inference.runtime import DeviceOutOfMemory

log = logging.getLogger("segment")
DRAINING = "draining: the service is stopping"
LATE = "no answer within {:g} s; send a smaller image, or try again when the service is less busy"
CLIENT_GONE = "the client went away"


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

    def reserve(self, client: Client, sender: str = "") -> Reservation:
        """A reservation with a place in the queue, for a request whose head has arrived. Raises `QueueFull`.

        client: who is closed if it is slow and others wait for what the reservation holds. sender: for fair turns.
        It does not need a model: before one is loaded, the route answers 503 with the reason.
        """
        reservation = self._reservation(client, sender)
        try:
            self.admission.reserve(reservation, self.deadline())
        except BaseException:
            reservation.close()
            raise
        return reservation

    def split(self, client: Client, reservation: Reservation, count: int) -> list[Reservation]:
        """Ends what a request of several images holds. Returns a reservation for each image, which has no place yet."""
        self._give_back(reservation)
        return [self._reservation(client, reservation.sender) for _ in range(count)]

    def _reservation(self, client: Client, sender: str) -> Reservation:
        def give_back(reservation: Reservation) -> None:
            client.reservations.discard(reservation)
            self._give_back(reservation)

        reservation = Reservation(sender, give_back)
        client.reservations.add(reservation)
        return reservation

    def _give_back(self, reservation: Reservation) -> None:
        self.budget.end(reservation)
        self.admission.release(reservation)

    async def segment(
        self,
        image: Image,
        model: str | None,
        reservation: Reservation,
        deadline: float,
        disconnect: asyncio.Future[None] | None = None,
        check: Check = lambda *_: None,
    ) -> Answer:
        """Segments the image with the model of this name, or the default.

        disconnect: is done once the client has disconnected. check: see `Check`.
        The work ends at once when `disconnect` is done (`Cancelled`), when the deadline passes (`DeadlinePassed`), or when this
        call is cancelled. If it fails, it closes the reservation. Else the reservation's place ends; the answer's bytes and
        their memory stay until the caller closes the reservation.

        Raises `UnknownModel`, `NotServing`, `TooManyTiles`, `TooMuchMemory`, `QueueFull`, `InferenceError`s, the errors of a
        `Worker`, and those of `check`.
        """
        limit = asyncio.timeout_at(deadline)
        try:
            with self._place(reservation), self.registry.using(model) as used_model:
                work = RequestWork(
                    image, used_model, reservation, deadline, check, workers=self.workers, budget=self.budget,
                    admission=self.admission, planning=self._planning, memory_setting=self._memory_setting,
                )  # fmt: skip
                async with limit:
                    if disconnect:
                        disconnect.add_done_callback(partial(_end_now, limit))
                    answer = await work.run()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if disconnect and disconnect.done():
                raise Cancelled(CLIENT_GONE) from error
            raise DeadlinePassed(LATE.format(self.settings.request_timeout_s)) from error
        except DeviceOutOfMemory as error:
            raise QueueFull(f"{error}; try again later", reason="device_memory") from error
        except MemoryError as error:
            log.error("out of memory: %s", error)
            raise QueueFull("the service's memory is full; try again later", reason="memory") from error
        finally:
            # it refers to this task, whose result may be an error that refers to this frame: a cycle that keeps memory in use
            del limit
        self.metrics.count_segmentation(used_model.name, answer.seconds, answer.counts, answer.mean_confidence)
        return answer

    @contextmanager
    def _place(self, reservation: Reservation) -> Iterator[None]:
        """The image's body has arrived. If the block raises, the reservation is closed; else its place in the queue ends."""
        self.admission.arrive(reservation)
        try:
            yield
        except BaseException:
            reservation.close()
            raise
        self.admission.release(reservation)

    @property
    def _memory_setting(self) -> str:
        return "SEGMENT_MEMORY_MB" if self.settings.memory_mb else "SEGMENT_MEMORY_MB, or the container's limit of memory"

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


def _end_now(limit: asyncio.Timeout, _: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # what it limits has ended
        limit.reschedule(0.0)
