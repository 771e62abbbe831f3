"""Runs the tiles of all requests, in shared batches where the device is faster with them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from model.inference.errors import Cancelled, InferenceError, SchedulerEnded
from model.inference.merging import Logits, finite
from model.inference.runtime import Device, DeviceLost, DeviceOutOfMemory, Runtime, Tile, most_tiles
from model.inference.tile_queue import Item, TileQueue, TileTurns

AHEAD = 16  # most tiles that a request of many submits ahead: two batches of 8
Clock = Callable[[], float]
OnBatch = Callable[[int, float, float], None]
"""Is told of a batch: its tiles, its seconds, and the seconds in which any batch ran since the last such call."""
log = logging.getLogger("segment")
THREAD_ENDED, SCHEDULER_STOPPED = "a thread of the scheduler has ended", "the scheduler was stopped"


@dataclass(eq=False)
class Runner:
    """A thread that calls a runtime.

    batch: the tiles that it has taken and not yet answered. calls: how many calls it has begun.
    """

    device: Device
    thread: threading.Thread
    batch: list[Item] = field(default_factory=list)
    calls: int = 0


class Scheduler:
    """Runs tiles and returns their logits in futures. Tiles may be submitted from any thread or event loop.

    Each runtime has `max_concurrency` threads. A thread takes a batch of tiles of one shape and calls the runtime; `TileTurns`
    says which tiles it has, and when it may begin. max_batch: of a batch; None: as many as the runtime allows.

    A batch for which the device has too little memory is split. Later batches of this device have at most half its pixels.
    `on_batch` is called after each batch. A tile whose logits are not finite gets a `FloatingPointError`. When a device is
    lost, the scheduler fails for good: `failure` holds the reason, and `on_failure` is called with it. Other code can make it
    fail with `fail`.
    `_lock` guards the waiting tiles and the runners' batches, and is held while a tile is answered.
    """

    def __init__(
        self,
        runtimes: Sequence[Runtime],
        *,
        max_batch: int | None = None,
        on_batch: OnBatch = lambda *_: None,
        on_failure: Callable[[str], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.failure: str | None = None
        self.clock = clock
        self._on_batch, self._on_failure = on_batch, on_failure
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._is_stopping = False
        self._calls = 0  # now
        self._busy_since = 0.0  # busy seconds are reported up to here; valid while calls run
        self.max_batch = min([*([max_batch] if max_batch else []), *(runtime.max_batch for runtime in runtimes)])
        self._turns = TileTurns(self.max_batch)
        devices = [Device(runtime, runtime.max_pixels) for runtime in runtimes]
        # a thread may have to leave tiles to the thread of another device, so then all are notified
        self._notify = self._work.notify if len(devices) == 1 else self._work.notify_all
        device_of_thread = [device for device in devices for _ in range(device.runtime.max_concurrency)]
        self._runners = [
            Runner(device, threading.Thread(target=self._serve, args=(i,), name=f"runtime-{i}", daemon=True))
            for i, device in enumerate(device_of_thread)
        ]

    def start(self) -> None:
        for runner in self._runners:
            runner.thread.start()

    def stop(self) -> None:
        """Ends the threads after their current batches. Tiles that still wait get `SchedulerEnded`.

        After a failure it does not wait for the threads, because a call of the runtime may never return.
        """
        with self._lock:
            self._is_stopping = True
            self._work.notify_all()
        for runner in self._runners:
            if runner.thread.is_alive() and not self.failure:
                runner.thread.join()
        with self._lock:
            self._turns.drop_all(SchedulerEnded(SCHEDULER_STOPPED, is_failure=False))

    def fail(self, reason: str) -> None:
        """Makes the scheduler fail for good. All tiles get `SchedulerEnded`, also those in calls that never return."""
        with self._lock:
            self.failure = reason
            self._turns.drop_all(SchedulerEnded(reason, is_failure=True))
            for runner in self._runners:
                for item in runner.batch:
                    item.resolve(SchedulerEnded(reason, is_failure=True))
            self._work.notify_all()

    @property
    def ahead(self) -> int:
        """How many tiles a request should submit ahead: two batches, at most `AHEAD`; at least one more than the threads."""
        return max(min(AHEAD, 2 * self.max_batch), len(self._runners) + 1)

    @property
    def alive(self) -> bool:
        """Whether every thread is running and no device has failed."""
        return self.failure is None and all(runner.thread.is_alive() for runner in self._runners)

    @property
    def problem(self) -> str | None:
        """Why the scheduler can run no more tiles; None while it can, or after a regular `stop`."""
        # `alive` is read before `_is_stopping`: threads that `stop` ends between the two reads are then no failure
        return self.failure or (None if self.alive or self._is_stopping else THREAD_ENDED)

    def calls(self) -> list[int | None]:
        """For each thread, a number that changes while it makes progress, or None if it has nothing to do.

        For a thread that runs a batch: how many calls it has begun. For one without a batch while tiles wait: how many calls
        all threads have begun, because it may wait for as long as others take the tiles. It has nothing to do while its device
        pauses between tiles of the background.
        """
        with self._lock:
            return [runner.calls if runner.batch else self._calls_beside(runner) for runner in self._runners]

    def _calls_beside(self, runner: Runner) -> int | None:
        """The number of `calls` for a thread without a batch."""
        pauses = self._turns.pause_s(runner.device, self._batches(runner.device), self.clock()) is not None
        return None if pauses or not self._turns else sum(other.calls for other in self._runners)

    def submit(self, queue: TileQueue, tile: Tile) -> Future[Logits]:
        """Adds a tile and returns the future of its logits. Any thread may call it.

        The future raises `DeadlinePassed`, `Cancelled`, `SchedulerEnded`, `DeviceOutOfMemory`, or what the network raised.
        """
        item = Item(tile, Future(), queue)
        with self._lock:
            if error := self._refusal(queue):
                item.future.set_exception(error)
                return item.future
            active = [other.queue for runner in self._runners for other in runner.batch]
            self._turns.add(item, active, self.clock())
            self._notify()
        return item.future

    def announce(self) -> None:
        """Says that tiles of a request will come, so that no more of the background begin before them."""
        with self._lock:
            self._turns.note_request(self.clock())

    def cancel(self, queue: TileQueue) -> None:
        """Cancels a request: its waiting tiles leave the queue, and their futures raise `Cancelled`."""
        with self._lock:
            queue.is_cancelled = True
            self._turns.drop(queue, Cancelled("the request was cancelled"))

    def _refusal(self, queue: TileQueue) -> InferenceError | None:
        """The error for a tile that cannot be accepted; None where it can."""
        if queue.is_cancelled:
            return Cancelled("the request was cancelled")
        if reason := self.problem:
            return SchedulerEnded(reason, is_failure=True)
        return SchedulerEnded(SCHEDULER_STOPPED, is_failure=False) if self._is_stopping else None

    def _serve(self, index: int) -> None:
        runner = self._runners[index]
        while batch := self._next_batch(runner):
            self._run_batch(runner, batch)

    def _next_batch(self, runner: Runner) -> list[Item]:
        """Waits for tiles and takes up to a batch of one shape; an empty list ends the thread."""
        with self._lock:
            runner.batch = []
            while not self._is_stopping and not self.failure:
                batches, now = self._batches(runner.device), self.clock()
                if batch := self._turns.take(runner.device, batches, now):
                    runner.batch = batch
                    if self._turns:
                        self._notify()
                    return batch
                self._work.wait(self._turns.pause_s(runner.device, batches, now))
            return []

    def _batches(self, device: Device) -> list[list[Item]]:
        """The batches that run on the device."""
        return [runner.batch for runner in self._runners if runner.device is device and runner.batch]

    def _run_batch(self, runner: Runner, batch: list[Item]) -> None:
        """Runs a batch and answers its tiles. If a call with several tiles fails, runs them in smaller batches."""
        results: list[tuple[Item, Logits | Exception]] = []
        has_memory = True
        try:
            logits = self._call(runner, batch)
            results = [(item, finite(tile_logits)) for item, tile_logits in zip(batch, logits, strict=True)]
        except DeviceLost as error:
            self.fail(str(error))
            self._on_failure(str(error))
            return
        except Exception as error:
            has_memory = not isinstance(error, DeviceOutOfMemory)
            if len(batch) == 1:
                results = [(batch[0], error)]
        with self._lock:
            for item, result in results:
                item.resolve(result)
        # after `except`, whose error would hold the batch's arrays
        if not results and not has_memory:
            self._run_smaller(runner, batch)
        elif not results:  # one at a time, so that a bad tile does not fail the others
            for item in batch:
                self._run_batch(runner, [item])

    def _run_smaller(self, runner: Runner, batch: list[Item]) -> None:
        """Runs a batch that did not fit the device's memory in parts, of which the first has half its tiles."""
        tile, device = batch[0].tile, runner.device
        pixels = len(batch) // 2 * tile.shape[0] * tile.shape[1]
        with self._lock:
            device.max_pixels = pixels if device.max_pixels is None else min(pixels, device.max_pixels)
        height, width = tile.shape[:2]
        log.warning(
            "%d tiles of %dx%d do not fit the memory of %s: until weights are loaded again, batches have at most %d pixels",
            len(batch), height, width, device.runtime.device, pixels,
        )  # fmt: skip
        while batch:
            count = most_tiles(tile.shape, self.max_batch, device.max_pixels)
            self._run_batch(runner, batch[:count])
            batch = batch[count:]

    def _call(self, runner: Runner, batch: list[Item]) -> Logits:
        """Calls the runtime, and `on_batch` if it succeeds."""
        with self._lock:
            start = self.clock()
            runner.calls += 1
            self._busy_since = self._busy_since if self._calls else start
            self._calls += 1
        try:
            logits = runner.device.runtime.logits([item.tile for item in batch])
        finally:
            with self._lock:
                end = self.clock()
                self._turns.note_call(runner.device, batch, start, end)
                busy_seconds, self._busy_since = end - self._busy_since, end
                self._calls -= 1
        self._on_batch(len(batch), end - start, busy_seconds)
        return logits
