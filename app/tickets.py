"""A request's place in the engine, and the turns that requests take."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from app.admission import Room
from app.engine_errors import DeadlinePassed, EngineError

Tile = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """A tile, and where its logits go."""

    tile: Tile
    future: Future[Tensor]


@dataclass(eq=False)
class Ticket:
    """One request in the engine: its deadline on the engine's clock, how many tiles it has, and those that wait."""

    deadline: float
    tiles: int
    room: Room
    cancelled: bool = False
    waiting: deque[Item] = field(default_factory=deque)
    submitted: float | None = None
    started: float | None = None

    def fail(self, error: EngineError) -> None:
        """Answers every tile that waits with this error."""
        for item in self.waiting:
            item.future.set_exception(error)
        self.waiting.clear()

    @property
    def queue_seconds(self) -> float:
        """From the first tile's arrival to its batch."""
        return 0.0 if self.submitted is None or self.started is None else self.started - self.submitted


class Turns:
    """The requests whose tiles wait, in the order of their turns. Not for several threads at once."""

    def __init__(self) -> None:
        self._turns: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """Tiles that wait."""
        return sum(len(ticket.waiting) for ticket in self._turns)

    def add(self, ticket: Ticket, item: Item) -> None:
        ticket.waiting.append(item)
        if len(ticket.waiting) == 1:
            self._turns.append(ticket)

    def drop_gone(self, now: float) -> None:
        """Removes tickets that wait for nothing, and answers those past their deadline."""
        for ticket in self._turns:
            if ticket.deadline <= now:
                ticket.fail(DeadlinePassed("the request waited in the queue past its deadline"))
        self._turns = deque(ticket for ticket in self._turns if ticket.waiting)

    def fail(self, error: EngineError) -> None:
        """Answers every tile that waits with this error."""
        for ticket in self._turns:
            ticket.fail(error)
        self._turns.clear()

    def take(self, limit: int, now: float) -> list[Item]:
        """A tile of each request in turn, of the first one's shape, until there are `limit` or none is left.

        Requests whose next tile has another shape come first in the next batch.
        """
        batch: list[Item] = []
        skipped: list[Ticket] = []
        while self._turns and len(batch) < limit:
            ticket = self._turns.popleft()
            if batch and ticket.waiting[0].tile.shape != batch[0].tile.shape:
                skipped.append(ticket)
                continue
            batch.append(ticket.waiting.popleft())
            ticket.started = ticket.started if ticket.started is not None else now
            if ticket.waiting:
                self._turns.append(ticket)
        self._turns.extendleft(reversed(skipped))
        return batch
