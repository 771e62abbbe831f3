"""Lanes in which images wait for their turn. A lane measures its rate: how fast work is done while it has any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.serving.fair_queue import FairQueue

AVERAGED_S = 10.0  # the rate is the average over about so many seconds of work


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

    The queue is fair to senders by the work of their images. The lane measures how many units of work are done per second
    of the time in which it has images in work.

    rate: units per second, at first. tiles: of all images in the lane.
    """

    def __init__(self, places: int, rate: float, clock: Callable[[], float]) -> None:
        self.places, self.tiles = places, 0
        self.working: dict[Turn, None] = {}
        self.waiting = FairQueue[Turn]()
        self._clock = clock
        # the rate is `_done` units in `_busy_s` seconds; the time since `_since` is not in `_busy_s` yet
        self._since, self._done, self._busy_s = 0.0, rate, 1.0

    @property
    def work(self) -> float:
        """Units of work that are not done. Any thread may read it."""
        return sum(turn.work for turn in [*self.working, *self.waiting.items()])

    def before(self, sender: str, work: float) -> float:
        """Units of work that would be done before one more image of this sender. work: units of that image."""
        return sum(turn.work for turn in self.working) + self.waiting.before(sender, work)

    def seconds(self, work: float) -> float:
        """The seconds that so many units of work take."""
        return work * self._busy_s / self._done

    @property
    def next_turn(self) -> Turn | None:
        """The turn that comes next, if a place is free."""
        return self.waiting.first if len(self.working) < self.places else None

    def join(self, turn: Turn) -> None:
        """The image waits from now on."""
        self.tiles += turn.tiles
        self.waiting.add(turn.sender, turn, turn.work)

    def begin(self, turn: Turn) -> None:
        """The image is in work from now on, and its sender is charged for its work."""
        if not self.working:
            self._since = self._clock()
        self.waiting.remove(turn.sender, turn, turn.work)
        self.waiting.charge(turn.sender, turn.work)
        self.working[turn] = None
        turn.has_come.set()

    def plan(self, turn: Turn, tiles: int) -> None:
        """The image in work is planned: it has so many tiles. Its sender is charged for those beyond the work of the turn."""
        self.waiting.charge(turn.sender, max(0.0, tiles - turn.work))
        self.tiles, turn.tiles = self.tiles + tiles - turn.tiles, tiles

    def leave(self, turn: Turn, *, is_done: bool) -> None:
        """The image leaves the lane, done or not, in work or not. The work of an image that is done counts for the rate."""
        self.tiles -= turn.tiles
        if not turn.has_come.is_set():
            self.waiting.remove(turn.sender, turn, turn.work)
            return
        del self.working[turn]
        if is_done:
            now = self._clock()
            busy_s = self._busy_s + now - self._since
            share = min(1.0, AVERAGED_S / busy_s)  # of all measurements so far that still counts
            self._since, self._done, self._busy_s = now, (self._done + turn.work) * share, busy_s * share
