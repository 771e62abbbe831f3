"""Who is let in: so many tiles, and no more than can be done before their deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, exp

from app.serving.budget import MemoryUse
from app.serving.errors import QueueFull, TooManyTiles
from model.inference.errors import Cancelled

AVERAGED_S = 10.0  # of busy time, over which the rate is averaged
TRUSTED_S = 1.0  # of busy time, before the rate is believed
FRESH_S = 2.0  # an upload that began longer ago is slow, and must not keep others out
MAX_UPLOADS = 1024
LONGEST_RETRY_S = 600
LONGEST_GAP_S = 3.0  # between two tiles that is counted in full: a process may be paused for a while, as a container is
FILLED = 0.5  # of the time to the deadline, at most: the machine may be half as fast the next moment


@dataclass(eq=False)
class Reservation:
    """What is kept for a request since `since`: a tile until its image is planned, then its tiles that are not done."""

    since: float
    tiles: int = 1
    uploading: bool = True
    memory: MemoryUse = field(default_factory=MemoryUse)


class Admission:
    """Counts the tiles that are admitted and not done, and how many are done a second while there are any.

    Requests take turns, a tile each: before the last tile of one, each other has had at most as many as that one has.
    For the event loop alone. Invariant: `_queued` is the sum of the tiles of `_admitted`.
    """

    def __init__(self, max_queued_tiles: int, clock: Callable[[], float]) -> None:
        self.max_queued_tiles = max_queued_tiles
        self._clock = clock
        self._uploading: set[Reservation] = set()
        self._admitted: set[Reservation] = set()
        self._queued = 0
        self._last = 0.0
        self._done = 0.0
        self._busy_s = 0.0

    @property
    def queued(self) -> int:
        """Tiles admitted and not done."""
        return self._queued

    @property
    def requests(self) -> int:
        """Requests that have a reservation."""
        return len(self._uploading) + len(self._admitted)

    @property
    def tiles_per_second(self) -> float | None:
        """The measured rate, or None before enough was done to tell."""
        return self._done / self._busy_s if self._busy_s >= TRUSTED_S and self._done else None

    def reserve(self, deadline: float) -> Reservation:
        """A reservation for a request whose head has come, before its body is read; raises `QueueFull`."""
        now = self._clock()
        if len(self._uploading) >= MAX_UPLOADS:
            stated = f"{len(self._uploading)} uploads are on their way, the most that are taken"
            raise QueueFull(f"{stated}; try again later", self._retry_after(len(self._admitted)))
        fresh = sum(now - reservation.since < FRESH_S for reservation in self._uploading)
        self._check(1, deadline, fresh)
        reservation = Reservation(now)
        self._uploading.add(reservation)
        return reservation

    def arrive(self, reservation: Reservation) -> None:
        """Counts the request's tile from now on, however long it waits: its body is here. Calling again does nothing."""
        if reservation in self._uploading:
            self._uploading.remove(reservation)
            now = self._clock()
            if not self._queued:
                self._last = now
            reservation.since, reservation.uploading = now, False
            self._admitted.add(reservation)
            self._queued += reservation.tiles

    def admit(self, reservation: Reservation, tiles: int, deadline: float) -> None:
        """Corrects the reservation of a request that has arrived to this many tiles, now that its image is planned.

        Raises `TooManyTiles`, `QueueFull`, or `Cancelled` where the reservation was given back meanwhile.
        """
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            raise TooManyTiles(f"the image makes {tiles} tiles and at most {limit} are taken; give a smaller side")
        if reservation not in self._admitted:
            raise Cancelled("the request was cancelled")
        self._admitted.remove(reservation)
        self._queued -= reservation.tiles
        try:
            self._check(tiles, deadline, 0)
            reservation.tiles = tiles
        finally:
            self._admitted.add(reservation)
            self._queued += reservation.tiles

    def tile_done(self, reservation: Reservation) -> None:
        """A tile of an admitted request is done; its last one is given back by `release`, after argmax and encoding."""
        if reservation in self._admitted and reservation.tiles > 1:
            self._give_back(reservation, 1, done=True)

    def release(self, reservation: Reservation, *, done: bool) -> None:
        """Gives the reservation back; `done` where its answer was made. Calling again does nothing."""
        self._uploading.discard(reservation)
        if reservation in self._admitted:
            self._admitted.remove(reservation)
            self._give_back(reservation, reservation.tiles, done=done)

    def _give_back(self, reservation: Reservation, tiles: int, *, done: bool) -> None:
        reservation.tiles -= tiles
        self._queued -= tiles
        now = self._clock()
        # what was given up or has failed tells nothing of the rate: its tiles do not count, nor its time where it was alone
        if not done:
            self._last = max(self._last, min((each.since for each in self._admitted), default=now))
        else:
            rate = self.tiles_per_second
            elapsed = min(now - self._last, max(LONGEST_GAP_S, 2 * tiles / rate) if rate else AVERAGED_S)
            fade = exp(-elapsed / AVERAGED_S)
            kept = AVERAGED_S * (1 - fade) / elapsed if elapsed else 1.0
            self._busy_s = self._busy_s * fade + elapsed * kept
            self._done = self._done * fade + tiles * kept
            self._last = now

    def _check(self, tiles: int, deadline: float, fresh_uploads: int) -> None:
        others = len(self._admitted) if tiles == 1 else sum(min(each.tiles, tiles) for each in self._admitted)
        before, queued = others + fresh_uploads, self._queued + fresh_uploads
        if queued + tiles > self.max_queued_tiles:
            stated = f"{queued} tiles are queued and at most {self.max_queued_tiles} are taken"
            raise QueueFull(f"{stated}; try again later", self._retry_after(before))
        rate, allowed = self.tiles_per_second, FILLED * (deadline - self._clock())
        # an image that comes while nothing waits may try, however long it takes
        if self._queued and rate and (needed := (before + tiles) / rate) > allowed:
            stated = f"{queued} tiles are queued, and these would be done in {needed:.1f} s, too near the deadline"
            lacking = min(LONGEST_RETRY_S, ceil(needed - allowed))
            raise QueueFull(f"{stated}; try again later", max(self._retry_after(before), lacking), "deadline")

    def _retry_after(self, requests: int) -> int:
        """Seconds until so many requests of a tile each are done, at the measured rate."""
        rate = self.tiles_per_second
        return 1 if rate is None else min(LONGEST_RETRY_S, max(1, ceil(requests / rate)))
