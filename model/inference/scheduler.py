"""Runs the tiles of all requests: one tile of each request in turn, in shared batches where the device is faster with them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf

from model.inference.errors import Cancelled, DeadlinePassed, InferenceError, SchedulerEnded
from model.inference.merging import Logits, finite
from model.inference.runtime import Device, DeviceLost, DeviceOutOfMemory, Runtime, Tile, most_tiles
from model.inference.tile_queue import Item, TileQueue

MIXED_S = 5.0  # seconds in which another photo may come after the last one
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

    Each runtime has `max_concurrency` threads. A thread takes a batch of tiles of one shape and calls the runtime. A batch
    takes all that wait, as far as the runtime and `max_batch` (None: the runtime alone) allow, so it grows with the load. It
    begins at once if the runtime is idle; while another runs, as soon as half as many tiles wait. At most
    `runtime.concurrency(tiles)` threads call it at the same time; `tiles` counts those running and waiting. On a CPU, a request
    whose tiles have run for `LONG_S` seconds runs one at a time while others come, so that they wait for one tile on all cores.

    A batch for which the device has too little memory is split. Later batches of this device have at most half its pixels.
    `on_batch` is called after each batch. A tile whose logits are not finite gets a `FloatingPointError`. When a device is
    lost, the scheduler fails for good: `failure` holds the reason, and `on_failure` is called with it. Other code can make it
    fail with `fail`.
    `_lock` guards the queues and the runners' batches, and is held while a tile is answered. `_queues` contains each request
    with waiting tiles once, in the order of their turns.
    """

    def __init__(
        self,
        runtimes: Sequence[Runtime],
        *,
        max_batch: int | None,
        on_batch: OnBatch,
        on_failure: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.failure: str | None = None
        self.clock = clock
        self._on_batch, self._on_failure = on_batch, on_failure
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queues: deque[TileQueue] = deque()
        self._stopping = False
        self._mixed_time = -inf  # when tiles of long and of other requests were last here at the same time
        self._running = 0  # calls now
        self._busy_since = 0.0  # busy seconds are reported up to here; valid while calls run
        self.max_batch = min([*([max_batch] if max_batch else []), *(runtime.max_batch for runtime in runtimes)])
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
            self._stopping = True
            self._work.notify_all()
        for runner in self._runners:
            if runner.thread.is_alive() and not self.failure:
                runner.thread.join()
        with self._lock:
            self._fail_all(SchedulerEnded(SCHEDULER_STOPPED, is_failure=False))

    def fail(self, reason: str) -> None:
        """Makes the scheduler fail for good. All tiles get `SchedulerEnded`, also those in calls that never return."""
        with self._lock:
            self.failure = reason
            self._fail_all(SchedulerEnded(reason, is_failure=True))
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
        # `alive` is read before `_stopping`: threads that `stop` ends between the two reads are then no failure
        return self.failure or (None if self.alive or self._stopping else THREAD_ENDED)

    def calls(self) -> list[int | None]:
        """For each thread, a number that changes while it makes progress, or None if it has nothing to do.

        For a thread that runs a batch: how many calls it has begun. For one without a batch while tiles wait: how many calls
        all threads have begun, because it may wait for as long as others take the tiles.
        """
        with self._lock:
            total = sum(runner.calls for runner in self._runners)
            idle = total if self._queues else None
            return [runner.calls if runner.batch else idle for runner in self._runners]

    def submit(self, queue: TileQueue, tile: Tile) -> Future[Logits]:
        """Adds a tile and returns the future of its logits. Any thread may call it.

        The future raises `DeadlinePassed`, `Cancelled`, `SchedulerEnded`, `DeviceOutOfMemory`, or what the network raised.
        """
        item = Item(tile, Future(), queue)
        with self._lock:
            if error := self._refusal(queue):
                item.future.set_exception(error)
                return item.future
            queue.submit_time = self.clock() if queue.submit_time is None else queue.submit_time
            queue.waiting.append(item)
            if len(queue.waiting) == 1:
                self._enqueue(queue)
            self._notify()
        return item.future

    def _enqueue(self, queue: TileQueue) -> None:
        """Adds a request to the turns: before those whose tiles are running, since they have their turn now."""
        running = [item.queue for runner in self._runners for item in runner.batch]
        place = len(self._queues)
        if queue not in running:
            place = next((i for i, other in enumerate(self._queues) if other in running), place)
        self._queues.insert(place, queue)

    def cancel(self, queue: TileQueue) -> None:
        """Cancels a request: its waiting tiles leave the queue, and their futures raise `Cancelled`."""
        with self._lock:
            queue.is_cancelled = True
            queue.fail(Cancelled("the request was cancelled"))

    def _refusal(self, queue: TileQueue) -> InferenceError | None:
        """The error for a tile that cannot be accepted; None where it can."""
        if queue.is_cancelled:
            return Cancelled("the request was cancelled")
        if reason := self.problem:
            return SchedulerEnded(reason, is_failure=True)
        return SchedulerEnded(SCHEDULER_STOPPED, is_failure=False) if self._stopping else None

    def _serve(self, index: int) -> None:
        runner = self._runners[index]
        while batch := self._next_batch(runner):
            self._run_batch(runner, batch)

    def _next_batch(self, runner: Runner) -> list[Item]:
        """Waits for tiles and takes up to a batch of one shape; an empty list ends the thread."""
        with self._lock:
            runner.batch = []
            while not self._stopping and not self.failure:
                if self._may_call(runner) and (batch := self._take(runner)):
                    runner.batch = batch
                    return batch
                self._work.wait()
            return []

    def _may_call(self, runner: Runner) -> bool:
        """Whether the runner's runtime gains from one more call at the same time."""
        device, now = runner.device, self.clock()
        batches = [other.batch for other in self._runners if other.device is device and other.batch]
        waiting = sum(len(queue.waiting) for queue in self._queues)
        running = [item.queue for batch in batches for item in batch]
        tiles = waiting + len(running)
        long = sum(len(queue.waiting) for queue in self._queues if queue.is_long) + sum(queue.is_long for queue in running)
        if 0 < long < tiles:
            self._mixed_time = now
        # while photos come beside a large image, its tiles take turns on all cores
        count = tiles - long if device.runtime.max_batch == 1 and now - self._mixed_time < MIXED_S else tiles
        # a much smaller batch gains more by waiting for further tiles than by overlapping
        return len(batches) < device.runtime.concurrency(count) and 2 * waiting >= max(map(len, batches), default=0)

    def _take(self, runner: Runner) -> list[Item]:
        """Takes one tile of each request in turn, of one shape. Requests of another shape are first in the next batch."""
        now = self.clock()
        batch: list[Item] = []
        skipped_queues: list[TileQueue] = []
        while self._queues and (
            not batch or len(batch) < most_tiles(batch[0].tile.shape, self.max_batch, runner.device.max_pixels)
        ):
            queue = self._queues.popleft()
            if queue.deadline <= now:
                queue.fail(DeadlinePassed("the request waited in the queue past its deadline"))
            if not queue.waiting:  # cancelled or late
                continue
            if batch and queue.waiting[0].tile.shape != batch[0].tile.shape:
                skipped_queues.append(queue)
                continue
            batch.append(queue.waiting.popleft())
            queue.start_time = now if queue.start_time is None else queue.start_time
            if queue.waiting:
                self._queues.append(queue)
        self._queues.extendleft(reversed(skipped_queues))
        if self._queues:
            self._notify()
        return batch

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
            self._busy_since = self._busy_since if self._running else start
            self._running += 1
        try:
            logits = runner.device.runtime.logits([item.tile for item in batch])
        finally:
            with self._lock:
                end = self.clock()
                for item in batch:
                    item.queue.seconds += (end - start) / len(batch)
                busy_seconds, self._busy_since = end - self._busy_since, end
                self._running -= 1
        self._on_batch(len(batch), end - start, busy_seconds)
        return logits

    def _fail_all(self, error: SchedulerEnded) -> None:
        for queue in self._queues:
            queue.fail(error)
        self._queues.clear()
