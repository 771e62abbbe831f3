"""Lanes in which images wait for their turn: senders in turn, at the rate that is measured while there is work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

AVERAGED_S = 10.0  # seconds of work over which a rate is averaged


@dataclass(eq=False)
class Turn:
    """An image in a lane: it waits there for a place and memory, and has both once `has_come` is set.

    work: in units of the lane. bytes: of memory. since: when it began to wait.
    """

    lane: Lane
    sender: str
    tiles: int
    work: float
    bytes: int
    since: float
    has_come: asyncio.Event = field(default_factory=asyncio.Event)


class Lane:
    """The small images, or the large ones: at most `places` in work, and those that wait for their turn.

    Senders take turns; the images of each keep their order. The lane measures how many units of work are done per second of the
    time in which it has images in work. rate: units per second until one is measured.
    """

    def __init__(self, places: int, rate: float, clock: Callable[[], float]) -> None:
        self.places = places
        self.working: dict[Turn, None] = {}
        self.waiting: dict[str, list[Turn]] = {}  # by sender, in the order of their turns
        self._clock = clock
        self._since, self._done, self._busy_s = 0.0, rate, 1.0

    def turns(self, count: int | None = None) -> list[Turn]:
        """The images in work, and the next `count` of each sender, or all. Any thread may call it."""
        return [*self.working, *(turn for turns in list(self.waiting.values()) for turn in turns[:count])]

    def seconds(self, work: float) -> float:
        """The seconds that so many units of work take."""
        return work * self._busy_s / self._done

    @property
    def next_turn(self) -> Turn | None:
        """The turn that comes next, if a place is free."""
        return next((turns[0] for turns in self.waiting.values()), None) if len(self.working) < self.places else None

    def begin(self, turn: Turn) -> None:
        """The image is in work, and its sender is the last one in turn."""
        if not self.working:
            self._since = self._clock()
        if turns := self.waiting.pop(turn.sender)[1:]:
            self.waiting[turn.sender] = turns
        self.working[turn] = None
        turn.has_come.set()

    def leave(self, turn: Turn, *, is_done: bool) -> None:
        """The image is done, or is worked on no more."""
        if not turn.has_come.is_set():
            self.waiting[turn.sender].remove(turn)
            if not self.waiting[turn.sender]:
                del self.waiting[turn.sender]
            return
        del self.working[turn]
        if is_done:
            now = self._clock()
            busy_s = self._busy_s + now - self._since
            share = min(1.0, AVERAGED_S / busy_s)
            self._since, self._done, self._busy_s = now, (self._done + turn.work) * share, busy_s * share
