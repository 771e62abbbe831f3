"""Who is let in: so many tiles, and no more than can be done before their deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp

from app.engine_errors import QueueFull, TooManyTiles

MEMORY_S = 10.0  # of busy time, over which the rate is averaged
TRUSTED_S = 1.0  # of busy time, before the rate is believed
LONGEST_RETRY_S = 600
# gaps without anything done are believed up to so many seconds, or so many times what the tiles should take: of longer ones
# no more is counted, since a process may be stopped for a while, as a paused container is
BELIEVED_S = 3.0
CREDIBLE = 2.0
SAFE = 0.5  # of the time that is left, for what may be filled: a machine may be half as fast the next moment


@dataclass(eq=False)
class Room:
    """What a request takes of the queue: its tiles that are not done."""

    tiles: int


class Admission:
    """Counts the tiles that are admitted and not done, and how many are done a second while there are any.

    Requests take turns, a tile each: before the last tile of one, each other has had at most as many as that one has.
    """

    def __init__(self, max_queued_tiles: int, clock: Callable[[], float]) -> None:
        self.max_queued_tiles = max_queued_tiles
        self._clock = clock
        self._lock = threading.Lock()
        self._rooms: set[Room] = set()
        self._queued = 0
        self._since = 0.0
        self._done = 0.0
        self._busy_s = 0.0

    @property
    def queued(self) -> int:
        return self._queued

    @property
    def tiles_per_second(self) -> float | None:
        """The measured rate, or None before enough was done to tell."""
        return self._done / self._busy_s if self._busy_s >= TRUSTED_S and self._done else None

    def take(self, tiles: int, deadline: float) -> Room:
        """Room for this many tiles until they are given back; raises `TooManyTiles` or `QueueFull`."""
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            raise TooManyTiles(f"the image makes {tiles} tiles and at most {limit} are taken; give a smaller side")
        with self._lock:
            if refusal := self._refusal(tiles, deadline):
                raise refusal
            if not self._queued:
                self._since = self._clock()
            self._queued += tiles
            room = Room(tiles)
            self._rooms.add(room)
            return room

    def refusal(self, deadline: float, coming: int = 0) -> QueueFull | None:
        """Why not even one tile would be let in, after so many that are on their way; None where it would be."""
        with self._lock:
            return self._refusal(1, deadline, coming)

    def retry_after(self, requests: int) -> int:
        """Seconds until so many requests of a tile each are done, at the measured rate."""
        rate = self.tiles_per_second
        return 1 if rate is None else min(LONGEST_RETRY_S, max(1, ceil(requests / rate)))

    def give_back(self, room: Room, tiles: int | None = None, *, done: bool) -> None:
        """So many tiles of the room are free again, or all that are left; `done` where they were run to the end."""
        with self._lock:
            freed = room.tiles if tiles is None else min(tiles, room.tiles)
            if not freed:
                return
            room.tiles -= freed
            self._queued -= freed
            if not room.tiles:
                self._rooms.remove(room)
            self._count(freed, done=done)

    def _count(self, tiles: int, *, done: bool) -> None:
        now = self._clock()
        elapsed = self._credible(now - self._since, tiles)
        fade = exp(-elapsed / MEMORY_S)
        kept = MEMORY_S * (1 - fade) / elapsed if elapsed else 1.0  # of this time itself, which fades as it goes
        self._busy_s = self._busy_s * fade + elapsed * kept
        self._done = self._done * fade + (tiles * kept if done else 0)
        self._since = now

    def _credible(self, elapsed: float, tiles: int) -> float:
        rate = self.tiles_per_second
        return min(elapsed, max(BELIEVED_S, CREDIBLE * tiles / rate) if rate else MEMORY_S)

    def _refusal(self, tiles: int, deadline: float, coming: int = 0) -> QueueFull | None:
        # a single tile comes after one of each other request: counted often, when many are refused
        before = coming + (len(self._rooms) if tiles == 1 else sum(min(room.tiles, tiles) for room in self._rooms))
        if self._queued + coming + tiles > self.max_queued_tiles:
            stated = f"{self._queued} tiles are queued and at most {self.max_queued_tiles} are taken"
            return QueueFull(f"{stated}; try again later", self.retry_after(before))
        rate, allowed = self.tiles_per_second, SAFE * (deadline - self._clock())
        # an image that comes while nothing waits may try, however long it takes
        if self._queued and rate and (needed := (before + tiles) / rate) > allowed:
            stated = f"{self._queued} tiles are queued, and these would be done in {needed:.1f} s, too near the deadline"
            lacking = min(LONGEST_RETRY_S, ceil(needed - allowed))
            return QueueFull(f"{stated}; try again later", max(self.retry_after(before), lacking))
        return None
