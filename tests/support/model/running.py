"""A scheduler in front of runtimes that a test controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from model.inference.scheduler import Scheduler
from model.inference.tile_queue import TileQueue
from tests.support.model.doubles import FAR, Clock, FirstChannel, tile
from tests.support.polling import HANG_S, wait_until


class Running:
    """A scheduler in front of runtimes, with threads that ask it, and what it tells."""

    def __init__(self, *runtimes: FirstChannel, max_batch: int | None = 4) -> None:
        self.clock = Clock()
        self.failures: list[str] = []
        self.batch_sizes: list[int] = []
        self.busy_seconds: list[float] = []
        self.scheduler = Scheduler(
            runtimes, max_batch=max_batch, on_batch=self.note, on_failure=self.failures.append, clock=self.clock
        )
        self.threads = ThreadPoolExecutor(64)

    def note(self, tiles: int, seconds: float, busy_seconds: float) -> None:
        self.batch_sizes.append(tiles)
        self.busy_seconds.append(busy_seconds)

    def run(self, values: Sequence[int], queue: TileQueue | None = None, side: int = 32) -> list[int]:
        """The tiles' values by their logits; they are all submitted at once."""
        queue = queue or TileQueue(FAR)
        futures = [self.scheduler.submit(queue, tile(value, side)) for value in values]
        return [int(each.result(HANG_S)[0, 0, 0]) for each in futures]

    def waiting(self, values: Sequence[int], queue: TileQueue | None = None, side: int = 32) -> Future[list[int]]:
        """As `run` on a thread, while the runtimes are busy; returns once the tiles wait."""
        queue = queue or TileQueue(FAR)
        future = self.threads.submit(self.run, values, queue, side)
        wait_until(lambda: len(queue.items) == len(values))
        return future

    @contextmanager
    def busy(self, *runtimes: FirstChannel) -> Iterator[None]:
        """Each runtime is held at a tile of value 1, so that what comes meanwhile waits."""
        for runtime in runtimes:
            runtime.hold.close()
        first = [self.threads.submit(self.run, [1]) for _ in runtimes]
        assert all(runtime.hold.entry.wait(HANG_S) for runtime in runtimes)
        yield
        for runtime in runtimes:
            runtime.hold.open()
        assert [each.result(HANG_S) for each in first] == [[1]] * len(runtimes)


@contextmanager
def running(*runtimes: FirstChannel, max_batch: int | None = 4) -> Iterator[Running]:
    instance = Running(*runtimes, max_batch=max_batch)
    instance.scheduler.start()
    try:
        yield instance
    finally:
        for runtime in runtimes:
            runtime.hold.open()
        instance.scheduler.stop()
        instance.threads.shutdown()
