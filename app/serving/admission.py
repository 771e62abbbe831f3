"""Admission of requests: a limited number of tiles, and only as many as can be done before their deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, exp

from app.serving.budget import MemoryUse
from app.serving.errors import QueueFull, TooManyTiles
from model.inference.errors import Cancelled

AVERAGED_S = 10.0  # seconds of busy time over which the rate is averaged
TRUSTED_S = 1.0  # seconds of busy time before the rate is used
FRESH_S = 2.0  # an upload that began longer ago counts as slow, and must not keep other requests out
MAX_UPLOADS = 1024
LONGEST_RETRY_S = 600
LONGEST_GAP_S = 3.0  # seconds between two tiles that count in full; a longer gap may be a pause of the process or container
DEADLINE_SHARE = 0.5  # a request is accepted if this share of the time to its deadline is enough: speed may halve


@dataclass(eq=False)
class Reservation:
    """A request's place in the queue.

    since: when its head arrived; once its body has arrived, when that was. tiles: 1 until its image is planned, then the
    number of its tiles that are not done. uploading: whether its body has yet to arrive.
    """

    since: float
    tiles: int = 1
    uploading: bool = True
    memory: MemoryUse = field(default_factory=MemoryUse)


class Admission:
    """Counts the tiles that are admitted and not done, and measures how many are done per second while there are any.

    The scheduler runs one tile of each request in turn. Before a request of n tiles is done, each other request has therefore
    run at most n tiles. Only for the event loop. Invariant: `_queued_tiles` is the sum of the tiles of `_admissions`.
    """

    def __init__(self, max_queued_tiles: int, clock: Callable[[], float]) -> None:
        self.max_queued_tiles = max_queued_tiles
        self._clock = clock
        self._uploading: set[Reservation] = set()
        self._admissions: set[Reservation] = set()
        self._queued_tiles = 0
        self._last = 0.0
        self._done_tiles = 0.0
        self._busy_s = 0.0

    @property
    def queued_tiles(self) -> int:
        """Tiles admitted and not done."""
        return self._queued_tiles

    @property
    def requests(self) -> int:
        """Requests that have a reservation."""
        return len(self._uploading) + len(self._admissions)

    @property
    def tiles_per_second(self) -> float | None:
        """The measured rate, or None before enough tiles are done to measure it."""
        return self._done_tiles / self._busy_s if self._busy_s >= TRUSTED_S and self._done_tiles else None

    @property
    def queue_seconds(self) -> float:
        """Seconds that the tiles admitted and not done take at the measured rate; 0 before there is a rate."""
        rate = self.tiles_per_second
        return self._queued_tiles / rate if rate else 0.0

    def reserve(self, deadline: float) -> Reservation:
        """Makes a reservation for a request whose head has arrived, before its body is read. Raises `QueueFull`."""
        now = self._clock()
        if len(self._uploading) >= MAX_UPLOADS:
            message = f"{len(self._uploading)} uploads are in progress, which is the limit"
            raise QueueFull(f"{message}; try again later", self._retry_after(len(self._admissions)))
        fresh = sum(now - reservation.since < FRESH_S for reservation in self._uploading)
        self._check(1, deadline, fresh)
        reservation = Reservation(now)
        self._uploading.add(reservation)
        return reservation

    def arrive(self, reservation: Reservation) -> None:
        """Counts the request's tile from now on, because its body has arrived. Calling it again does nothing."""
        if reservation in self._uploading:
            self._uploading.remove(reservation)
            now = self._clock()
            if not self._queued_tiles:
                self._last = now
            reservation.since, reservation.uploading = now, False
            self._admissions.add(reservation)
            self._queued_tiles += reservation.tiles

    def admit(self, reservation: Reservation, tiles: int, deadline: float) -> None:
        """Sets the number of tiles of a request that has arrived, once its image is planned.

        Raises `TooManyTiles`, `QueueFull`, or `Cancelled` if the reservation was released meanwhile.
        """
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            advice = "give a smaller side; the operator can raise SEGMENT_MAX_QUEUED_TILES"
            raise TooManyTiles(f"the image has {tiles} tiles; the limit is {limit}; {advice}")
        if reservation not in self._admissions:
            raise Cancelled("the request was cancelled")
        self._admissions.remove(reservation)
        self._queued_tiles -= reservation.tiles
        try:
            self._check(tiles, deadline, 0)
            reservation.tiles = tiles
        finally:
            self._admissions.add(reservation)
            self._queued_tiles += reservation.tiles

    def count_tile(self, reservation: Reservation) -> None:
        """Counts a done tile of an admitted request. The last one is counted by `release`, after argmax and encoding."""
        if reservation in self._admissions and reservation.tiles > 1:
            self._give_back(reservation, 1, is_done=True)

    def release(self, reservation: Reservation, *, is_done: bool) -> None:
        """Ends the reservation. is_done: whether the answer is ready. Calling it again does nothing."""
        self._uploading.discard(reservation)
        if reservation in self._admissions:
            self._admissions.remove(reservation)
            self._give_back(reservation, reservation.tiles, is_done=is_done)

    def _give_back(self, reservation: Reservation, tiles: int, *, is_done: bool) -> None:
        reservation.tiles -= tiles
        self._queued_tiles -= tiles
        now = self._clock()
        # what a failed or cancelled request had not finished does not count, nor does the time while only it was in the queue
        if not is_done:
            self._last = max(self._last, min((other.since for other in self._admissions), default=now))
        else:
            rate = self.tiles_per_second
            seconds = min(now - self._last, max(LONGEST_GAP_S, 2 * tiles / rate) if rate else AVERAGED_S)
            fade = exp(-seconds / AVERAGED_S)
            weight = AVERAGED_S * (1 - fade) / seconds if seconds else 1.0
            self._busy_s = self._busy_s * fade + seconds * weight
            self._done_tiles = self._done_tiles * fade + tiles * weight
            self._last = now

    def _check(self, tiles: int, deadline: float, fresh_uploads: int) -> None:
        """Raises `QueueFull` if a request of `tiles` tiles has no room, or would be done too near its deadline.

        fresh_uploads: uploads that count as one queued tile each.
        """
        # tiles of other requests that run before this request is done; for a request of one tile, each other request counts one
        tiles_ahead = len(self._admissions) if tiles == 1 else sum(min(other.tiles, tiles) for other in self._admissions)
        before, queued_tiles = tiles_ahead + fresh_uploads, self._queued_tiles + fresh_uploads
        if queued_tiles + tiles > self.max_queued_tiles:
            message = f"{queued_tiles} tiles are queued and at most {self.max_queued_tiles} are allowed"
            raise QueueFull(f"{message}; try again later", self._retry_after(before))
        rate, allowed_s = self.tiles_per_second, DEADLINE_SHARE * (deadline - self._clock())
        # while nothing is queued, an image is admitted however long it takes
        if self._queued_tiles and rate and (needed_s := (before + tiles) / rate) > allowed_s:
            problem = f"this request would be done in {needed_s:.1f} s, too close to its deadline"
            message = f"{queued_tiles} tiles are queued, and {problem}"
            excess_s = min(LONGEST_RETRY_S, ceil(needed_s - allowed_s))
            raise QueueFull(f"{message}; try again later", max(self._retry_after(before), excess_s), "deadline")

    def _retry_after(self, tiles: int) -> int:
        """Seconds in which this many tiles are done at the measured rate: at least 1, at most `LONGEST_RETRY_S`."""
        rate = self.tiles_per_second
        return 1 if rate is None else min(LONGEST_RETRY_S, max(1, ceil(tiles / rate)))
