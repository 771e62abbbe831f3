"""A scheduler with a watchdog."""

from __future__ import annotations

from concurrent.futures import Future

from app.serving.watchdog import Watchdog
from model.inference.merging import Logits
from model.inference.scheduler import Scheduler
from model.inference.tile_queue import TileQueue
from tests.support.model.doubles import FAR, Clock, FirstChannel, tile


class WatchedScheduler:
    """A scheduler, those that ask it, and a watchdog with five looks of a second to a stall, which looks when told."""

    def __init__(self, *runtimes: FirstChannel) -> None:
        self.failures: list[str] = []
        self.clock = Clock()
        self.scheduler = Scheduler(
            runtimes, max_batch=1, on_batch=lambda *_: None, on_failure=self.failures.append, clock=self.clock
        )
        self.scheduler.start()
        self.schedulers = [self.scheduler]
        self.watchdog = Watchdog(lambda: self.schedulers, self.failures.append, stall_s=5, interval=1)

    def ask(self, value: int, *, is_background: bool = False) -> Future[Logits]:
        return self.scheduler.submit(TileQueue(FAR, is_background), tile(value))

    def look(self, times: int) -> list[str | None]:
        return [self.watchdog.look() for _ in range(times)]
