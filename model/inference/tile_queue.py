"""The waiting tiles of one request or of one work in the background, and the futures of their logits."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from model.inference.merging import Logits
from model.inference.runtime import Tile

LONG_S = 1.0  # seconds of the network that a photo does not need, also on slow processors


class Item(NamedTuple):
    """A tile, the future that receives its logits, and the queue of its request."""

    tile: Tile
    future: Future[Logits]
    queue: TileQueue

    def resolve(self, result: Logits | Exception) -> None:
        """Gives the future this result, unless `Scheduler.fail` or a cancellation came first. The scheduler's lock is held."""
        with suppress(InvalidStateError):
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)


@dataclass(eq=False)
class TileQueue:
    """The waiting tiles of one request, or of one work in the background. The scheduler's lock guards it.

    deadline, submit_time (when the first tile arrived) and start_time (when its first batch began): of the scheduler's clock.
    is_background: whether its tiles run only while those of requests leave time.
    seconds: in which its tiles have run; those of a batch share its time.
    """

    deadline: float
    is_background: bool = False
    waiting: deque[Item] = field(default_factory=deque)
    is_cancelled: bool = False
    submit_time: float | None = None
    start_time: float | None = None
    seconds: float = 0.0

    @property
    def is_long(self) -> bool:
        """Whether it is a request whose tiles have run for so long that other requests come first."""
        return not self.is_background and self.seconds >= LONG_S

    @property
    def wait_seconds(self) -> float:
        """Seconds from the arrival of the first tile to the start of its batch; 0 before that."""
        return 0.0 if self.submit_time is None or self.start_time is None else self.start_time - self.submit_time

    def fail(self, error: Exception) -> None:
        """Answers every waiting tile with the error. The scheduler's lock is held."""
        for item in self.waiting:
            item.resolve(error)
        self.waiting.clear()
