"""Runs the tiles of all requests: a tile of each request in turn, in shared batches where a device gains by them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from model.inference.errors import Cancelled, DeadlinePassed, InferenceError, SchedulerEnded
from model.inference.merging import Logits
from model.inference.runtime import DeviceLost, Runtime, Tile

Clock = Callable[[], float]
ENDED = "a thread of the scheduler has ended"
STOPPED = "the scheduler was stopped"


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
class Runner:
    """A thread that calls a runtime: the tiles that it has taken and not yet answered, and how many calls it has begun."""

    runtime: Runtime
    thread: threading.Thread
    batch: list[Item] = field(default_factory=list)
    calls: int = 0


class Scheduler:
    """Runs tiles of any thread or event loop, and answers each with its logits.

    Each runtime has `max_concurrency` threads, which take batches of up to `max_batch` tiles of one shape and call it, as many
    at once as its `concurrency` says for the tiles that there are; after each,
    `on_batch` gets its number of tiles and its seconds. Logits that are not finite are a `FloatingPointError` of their tile.
    A device that is lost ends the scheduler's life: `failure` says why, and `on_failure` is told; `fail` does so from outside.
    `_lock` guards the queues and the runners' batches, and whoever answers a tile holds it; `_queues` holds each request that
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
        self.max_batch = min([max_batch, *(runtime.max_batch or max_batch for runtime in runtimes)])
        calls = [runtime for runtime in runtimes for _ in range(runtime.max_concurrency)]
        self._runners = [
            Runner(runtime, threading.Thread(target=self._serve, args=(i,), name=f"runtime-{i}", daemon=True))
            for i, runtime in enumerate(calls)
        ]

    def start(self) -> None:
        for runner in self._runners:
            runner.thread.start()

    def stop(self) -> None:
        """Ends the threads after their batches; what still waits gets `SchedulerEnded`.

        Where the scheduler has failed, its threads are not waited for: one may never come back from the runtime.
        """
        with self._lock:
            self._stopping = True
            self._work.notify_all()
        for runner in self._runners:
            if runner.thread.is_alive() and not self.failure:
                runner.thread.join()
        with self._lock:
            self._fail_all(SchedulerEnded(STOPPED, failed=False))

    def fail(self, reason: str) -> None:
        """Ends the scheduler's life: what waits, also for a call that does not come back, gets `SchedulerEnded`."""
        with self._lock:
            self.failure = reason
            self._fail_all(SchedulerEnded(reason, failed=True))
            for runner in self._runners:
                for item in runner.batch:
                    _answer(item, SchedulerEnded(reason, failed=True))
            self._work.notify_all()

    @property
    def ahead(self) -> int:
        """So many tiles of a request should be here, so that a batch is full, every thread busy, and the next tile there."""
        return max(self.max_batch, len(self._runners) + 1)

    @property
    def alive(self) -> bool:
        """Whether every thread runs and the device works."""
        return self.failure is None and all(runner.thread.is_alive() for runner in self._runners)

    @property
    def broken(self) -> str | None:
        """Why it cannot go on, which is not that it was stopped; or None."""
        # in this order: `stop` may be called meanwhile
        return self.failure or (None if self.alive or self._stopping else ENDED)

    def calls(self) -> list[int | None]:
        """For each thread, how many calls it has begun; None where it has nothing to do."""
        with self._lock:
            return [runner.calls if runner.batch or self._queues else None for runner in self._runners]

    def submit(self, queue: TileQueue, tile: Tile) -> Future[Logits]:
        """The tile's logits to be; any thread.

        The future raises `DeadlinePassed`, `Cancelled`, `SchedulerEnded`, `DeviceOutOfMemory`, or what the network raised.
        """
        item = Item(tile, Future())
        with self._lock:
            if error := self._refusal(queue):
                item.future.set_exception(error)
                return item.future
            queue.submitted = self.clock() if queue.submitted is None else queue.submitted
            queue.waiting.append(item)
            if len(queue.waiting) == 1:
                self._queues.append(queue)
            self._work.notify()
        return item.future

    def cancel(self, queue: TileQueue) -> None:
        """Nobody waits for this request any more: its tiles leave the queue, its thread gets `Cancelled`."""
        with self._lock:
            queue.cancelled = True
            _fail(queue, Cancelled("the request was cancelled"))

    def _refusal(self, queue: TileQueue) -> InferenceError | None:
        if queue.cancelled:
            return Cancelled("the request was cancelled")
        if reason := self.broken:
            return SchedulerEnded(reason, failed=True)
        return SchedulerEnded(STOPPED, failed=False) if self._stopping else None

    def _serve(self, index: int) -> None:
        runner = self._runners[index]
        while batch := self._next_batch(runner):
            self._run_batch(runner, batch)

    def _next_batch(self, runner: Runner) -> list[Item]:
        """Waits for tiles, then takes up to a batch of one shape; empty when the thread is to end."""
        with self._lock:
            runner.batch = []
            while not self._stopping and not self.failure:
                if self._may_call(runner) and (batch := self._take()):
                    runner.batch = batch
                    return batch
                self._work.wait()
            return []

    def _may_call(self, runner: Runner) -> bool:
        """Whether one more call of its runtime pays."""
        batches = [other.batch for other in self._runners if other.runtime is runner.runtime and other.batch]
        tiles = sum(map(len, batches)) + sum(len(queue.waiting) for queue in self._queues)
        return len(batches) < runner.runtime.concurrency(tiles)

    def _take(self) -> list[Item]:
        """A tile of each request in turn, of the first one's shape. Requests whose next tile has another come first next."""
        now = self.clock()
        batch: list[Item] = []
        skipped: list[TileQueue] = []
        while self._queues and len(batch) < self.max_batch:
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

    def _run_batch(self, runner: Runner, batch: list[Item]) -> None:
        started = self.clock()
        found: list[tuple[Item, Logits | Exception]] = []
        runner.calls += 1
        try:
            logits = runner.runtime.logits([item.tile for item in batch])
            found = [(item, _finite(each)) for item, each in zip(batch, logits, strict=True)]
            self._on_batch(len(batch), self.clock() - started)
        except DeviceLost as error:
            self.fail(str(error))
            self._on_failure(str(error))
            return
        except Exception as error:
            if len(batch) == 1:
                found = [(batch[0], error)]
        with self._lock:
            for item, result in found:
                _answer(item, result)
        if not found:  # one by one, so that a bad tile does not fail its neighbours; the error is gone, and what it held
            for item in batch:
                self._run_batch(runner, [item])

    def _fail_all(self, error: SchedulerEnded) -> None:
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
    """Answers a tile, unless `Scheduler.fail` has, or its request was cancelled. The scheduler's lock is held."""
    with suppress(InvalidStateError):
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
