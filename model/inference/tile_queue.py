"""The waiting tiles of one request, and the futures of their logits."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from model.inference.merging import Logits
from model.inference.runtime import Tile


class Item(NamedTuple):
    """A tile, and the future that receives its logits."""

    tile: Tile
    future: Future[Logits]

    def resolve(self, result: Logits | Exception) -> None:
        """Gives the future this result, unless `Scheduler.fail` or a cancellation came first. The scheduler's lock is held."""
        with suppress(InvalidStateError):
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)


@dataclass(eq=False)
class TileQueue:
    """The waiting tiles of one request. The scheduler's lock guards it.

    deadline, submit_time (when the first tile arrived) and start_time (when its first batch began): of the scheduler's clock.
    """

    deadline: float
    waiting: deque[Item] = field(default_factory=deque)
    is_cancelled: bool = False
    submit_time: float | None = None
    start_time: float | None = None

    @property
    def wait_seconds(self) -> float:
        """Seconds from the arrival of the first tile to the start of its batch; 0 before that."""
        return 0.0 if self.submit_time is None or self.start_time is None else self.start_time - self.submit_time

    def fail(self, error: Exception) -> None:
        """Answers every waiting tile with the error. The scheduler's lock is held."""
        for item in self.waiting:
            item.resolve(error)
        self.waiting.clear()
