"""Runs the tiles of all requests: a tile of each request in turn, in shared batches where a device gains by them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from app.serving.errors import Cancelled, DeadlinePassed, NotServing, QueueFull
from model.inference.merging import Logits
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, Runtime, Tile

Clock = Callable[[], float]
ENDED = "a thread of the scheduler has ended"
STOPPED = "the service was stopped"
LATE = "no answer before the deadline; send a smaller image or try when it is less busy"


class Item(NamedTuple):
    """A tile, and where its logits go."""

    tile: Tile
    future: Future[Logits]


@dataclass(eq=False)
class TileQueue:
    """One request's tiles that wait, until its deadline on the scheduler's clock. The scheduler's lock guards it."""

    deadline: float
    waiting: deque[Item] = field(default_factory=deque)
    cancelled: bool = False
    submitted: float | None = None
    started: float | None = None

    @property
    def queue_seconds(self) -> float:
        """From the first tile's arrival to its batch."""
        return 0.0 if self.submitted is None or self.started is None else self.started - self.submitted


@dataclass(eq=False)
class Worker:
    """A thread that calls a runtime: the tiles that it has taken and not yet answered, and how many calls it has begun."""

    runtime: Runtime
    thread: threading.Thread
    batch: list[Item] = field(default_factory=list)
    calls: int = 0


class Scheduler:
    """Takes tiles from requests' threads and gives them their logits.

    Each runtime has `concurrency` threads, which take batches of up to `max_batch` tiles of one shape and call it; after each,
    `on_batch` gets its number of tiles and its seconds. Logits that are not finite are a `FloatingPointError` of their tile.
    A device that is lost ends the scheduler's life: `failure` says why, and `on_failure` is told; `fail` does so from outside.
    `_lock` guards the queues and the workers' batches, and whoever answers a tile holds it; `_queues` holds each request that
    has waiting tiles once, in the order of their turns.
    """

    def __init__(
        self,
        runtimes: Sequence[Runtime],
        *,
        max_batch: int,
        on_batch: Callable[[int, float], None],
        on_failure: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.failure: str | None = None
        self.clock = clock
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queues: deque[TileQueue] = deque()
        self._stopping = False
        self._max_batch = min([max_batch, *(runtime.max_batch or max_batch for runtime in runtimes)])
        calls = [runtime for runtime in runtimes for _ in range(runtime.concurrency)]
        self._workers = [
            Worker(runtime, threading.Thread(target=self._serve, args=(i,), name=f"runtime-{i}", daemon=True))
            for i, runtime in enumerate(calls)
        ]

    def start(self) -> None:
        for worker in self._workers:
            worker.thread.start()

    def stop(self) -> None:
        """Ends the threads after their batches; whoever still waits gets `NotServing`.

        Where the scheduler has failed, its threads are not waited for: one may never come back from the runtime.
        """
        with self._lock:
            self._stopping = True
            self._work.notify_all()
        for worker in self._workers:
            if worker.thread.is_alive() and not self.failure:
                worker.thread.join()
        with self._lock:
            self._fail_all(NotServing(STOPPED, "draining"))

    def fail(self, reason: str) -> None:
        """Ends the scheduler's life: whoever waits, also for a call that does not come back, gets `NotServing`."""
        with self._lock:
            self.failure = reason
            self._fail_all(NotServing(reason))
            for worker in self._workers:
                for item in worker.batch:
                    _answer(item, NotServing(reason))
            self._work.notify_all()

    @property
    def alive(self) -> bool:
        """Whether every thread runs and the device works."""
        return self.failure is None and all(worker.thread.is_alive() for worker in self._workers)

    @property
    def broken(self) -> str | None:
        """Why it cannot go on, which is not that it was stopped; or None."""
        # in this order: `stop` may be called meanwhile
        return self.failure or (None if self.alive or self._stopping else ENDED)

    def calls(self) -> list[int | None]:
        """For each thread, how many calls it has begun; None where it has nothing to do."""
        with self._lock:
            return [worker.calls if worker.batch or self._queues else None for worker in self._workers]

    def run(self, queue: TileQueue, tiles: Iterator[Tile]) -> Iterator[Logits]:
        """Logits of the tiles, in order, on the caller's thread, which is a bounded number of tiles ahead of the runtime.

        Raises `DeadlinePassed`, `Cancelled`, `NotServing`, `QueueFull` (the device's memory is full), or what the network
        raised.
        """
        ahead: deque[Future[Logits]] = deque()
        most = 2 * self._max_batch * len(self._workers)
        for tile in tiles:
            ahead.append(self._submit(queue, tile))
            if len(ahead) >= most:
                yield self._result(queue, ahead.popleft())
        while ahead:
            yield self._result(queue, ahead.popleft())

    def cancel(self, queue: TileQueue) -> None:
        """Nobody waits for this request any more: its tiles leave the queue, its thread gets `Cancelled`."""
        with self._lock:
            queue.cancelled = True
            _fail(queue, Cancelled("the request was cancelled"))

    def check(self, queue: TileQueue) -> None:
        """Raises `Cancelled` or `DeadlinePassed` where nobody waits for the request's answer any more."""
        if queue.cancelled:
            raise Cancelled("the request was cancelled")
        if self.clock() >= queue.deadline:
            raise DeadlinePassed(LATE)

    def _submit(self, queue: TileQueue, tile: Tile) -> Future[Logits]:
        item = Item(tile, Future())
        with self._lock:
            if queue.cancelled:
                raise Cancelled("the request was cancelled")
            if reason := self.broken:
                raise NotServing(reason)
            if self._stopping:
                raise NotServing(STOPPED, "draining")
            queue.submitted = self.clock() if queue.submitted is None else queue.submitted
            queue.waiting.append(item)
            if len(queue.waiting) == 1:
                self._queues.append(queue)
            self._work.notify()
        return item.future

    def _result(self, queue: TileQueue, future: Future[Logits]) -> Logits:
        try:
            return future.result(timeout=max(0.0, queue.deadline - self.clock()))
        except TimeoutError:
            self.cancel(queue)
            raise DeadlinePassed(LATE) from None

    def _serve(self, index: int) -> None:
        worker = self._workers[index]
        while batch := self._next_batch(worker):
            self._run_batch(worker, batch)

    def _next_batch(self, worker: Worker) -> list[Item]:
        """Waits for tiles, then takes up to a batch of one shape; empty when the thread is to end."""
        with self._lock:
            worker.batch = []
            while not self._stopping and not self.failure:
                if batch := self._take():
                    worker.batch = batch
                    return batch
                self._work.wait()
            return []

    def _take(self) -> list[Item]:
        """A tile of each request in turn, of the first one's shape. Requests whose next tile has another come first next."""
        now = self.clock()
        batch: list[Item] = []
        skipped: list[TileQueue] = []
        while self._queues and len(batch) < self._max_batch:
            queue = self._queues.popleft()
            if queue.deadline <= now:
                _fail(queue, DeadlinePassed("the request waited in the queue past its deadline"))
            if not queue.waiting:  # cancelled or late
                continue
            if batch and queue.waiting[0].tile.shape != batch[0].tile.shape:
                skipped.append(queue)
                continue
            batch.append(queue.waiting.popleft())
            queue.started = now if queue.started is None else queue.started
            if queue.waiting:
                self._queues.append(queue)
        self._queues.extendleft(reversed(skipped))
        if self._queues:
            self._work.notify()
        return batch

    def _run_batch(self, worker: Worker, batch: list[Item]) -> None:
        started = self.clock()
        found: list[tuple[Item, Logits | Exception]] = []
        worker.calls += 1
        try:
            logits = worker.runtime.logits([item.tile for item in batch])
            found = [(item, _finite(each)) for item, each in zip(batch, logits, strict=True)]
            self._on_batch(len(batch), self.clock() - started)
        except DeviceLost as error:
            self.fail(str(error))
            self._on_failure(str(error))
            return
        except Exception as error:
            if len(batch) == 1:
                full = isinstance(error, DeviceOutOfMemory)
                found = [(batch[0], QueueFull(f"{error}; try again later", reason="device_memory") if full else error)]
        with self._lock:
            for item, result in found:
                _answer(item, result)
        if not found:  # one by one, so that a bad tile does not fail its neighbours; the error is gone, and what it held
            for item in batch:
                self._run_batch(worker, [item])

    def _fail_all(self, error: NotServing) -> None:
        for queue in self._queues:
            _fail(queue, error)
        self._queues.clear()


def _finite(logits: Logits) -> Logits | FloatingPointError:
    """The logits of a tile, or what to tell of them where some are NaN or infinite."""
    if np.isfinite(logits).all():
        return logits
    return FloatingPointError("the network gave logits that are NaN or infinite for a tile; expected finite numbers")


def _fail(queue: TileQueue, error: Exception) -> None:
    """Answers every tile that waits with this error."""
    for item in queue.waiting:
        _answer(item, error)
    queue.waiting.clear()


def _answer(item: Item, result: Logits | Exception) -> None:
    """Answers a tile, unless `Scheduler.fail` has meanwhile. The scheduler's lock is held."""
    if item.future.done():
        return
    if isinstance(result, Exception):
        item.future.set_exception(result)
    else:
        item.future.set_result(result)
