"""Who is let in: so many tiles, and no more than can be done before their deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import ceil, exp

from app.engine_errors import QueueFull, TooManyTiles

MEMORY_S = 10.0  # of busy time, over which the rate is averaged
TRUSTED_S = 1.0  # of busy time, before the rate is believed
LONGEST_RETRY_S = 600
# gaps without anything done are believed up to so many seconds, or so many times what the tiles should take: of longer ones
# no more is counted, since a process may be stopped for a while, as a paused container is
BELIEVED_S = 3.0
CREDIBLE = 2.0
SAFE = 0.6  # of the time that is left, for what may be filled: rates waver


class Admission:
    """Counts the tiles that are admitted and not done, and how many are done a second while there are any."""

    def __init__(self, max_queued_tiles: int, clock: Callable[[], float]) -> None:
        self.max_queued_tiles = max_queued_tiles
        self._clock = clock
        self._lock = threading.Lock()
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

    def take(self, tiles: int, deadline: float) -> None:
        """Room for this many tiles until `give_back`; raises `TooManyTiles` or `QueueFull`."""
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            raise TooManyTiles(f"the image makes {tiles} tiles and at most {limit} are taken; give a smaller side")
        with self._lock:
            self._refuse(tiles, deadline)
            if not self._queued:
                self._since = self._clock()
            self._queued += tiles

    def check(self, deadline: float, coming: int = 0) -> None:
        """Raises `QueueFull` where not even one tile would be let in, after so many that are on their way."""
        with self._lock:
            self._refuse(1 + coming, deadline)

    def give_back(self, tiles: int, *, done: bool) -> None:
        """The room of so many tiles is free again; `done` where they were run to the end."""
        with self._lock:
            now = self._clock()
            elapsed = self._credible(now - self._since, tiles)
            fade = exp(-elapsed / MEMORY_S)
            kept = MEMORY_S * (1 - fade) / elapsed if elapsed else 1.0  # of this time itself, which fades as it goes
            self._busy_s = self._busy_s * fade + elapsed * kept
            self._done = self._done * fade + (tiles * kept if done else 0)
            self._since = now
            self._queued -= tiles

    def _credible(self, elapsed: float, tiles: int) -> float:
        rate = self.tiles_per_second
        return min(elapsed, max(BELIEVED_S, CREDIBLE * tiles / rate) if rate else MEMORY_S)

    def _refuse(self, tiles: int, deadline: float) -> None:
        rate = self.tiles_per_second
        retry = 1 if rate is None else min(LONGEST_RETRY_S, max(1, ceil(self._queued / rate)))
        if self._queued + tiles > self.max_queued_tiles:
            stated = f"{self._queued} tiles are queued and at most {self.max_queued_tiles} are taken"
            raise QueueFull(f"{stated}; try again later", retry)
        # an image that comes while nothing waits may try, however long it takes
        if self._queued and rate and (needed := (self._queued + tiles) / rate) > SAFE * (deadline - self._clock()):
            stated = f"{self._queued} tiles are queued, and with these would take {needed:.1f} s, too near the deadline"
            raise QueueFull(f"{stated}; try again later", retry)
