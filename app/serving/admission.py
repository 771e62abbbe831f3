"""Who is let in: so many tiles, no more than can be done before their deadline, and so many bytes of memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, exp

from app.serving.errors import Cancelled, QueueFull, TooManyTiles, TooMuchMemory

AVERAGED_S = 10.0  # of busy time, over which the rate is averaged
TRUSTED_S = 1.0  # of busy time, before the rate is believed
FRESH_S = 2.0  # an upload that began longer ago is slow, and must not keep others out
MAX_UPLOADS = 1024
LONGEST_RETRY_S = 600
LONGEST_GAP_S = 3.0  # between two tiles that is counted in full: a process may be paused for a while, as a container is
HELD_SHARE = 0.25  # of the memory, for bodies and answers
CHECK_S = 0.2  # between two looks of who waits for memory at whether anybody still wants its answer
FILLED = 0.5  # of the time to the deadline, at most: the machine may be half as fast the next moment


@dataclass(eq=False)
class Held:
    """Bytes of one request's body on its way, its body, or its answer."""

    bytes: int = 0


@dataclass(eq=False)
class Reservation:
    """What is kept for a request since `since`: a tile while its upload is on its way, then its tiles that are not done."""

    since: float
    tiles: int = 1
    uploading: bool = True
    held: Held = field(default_factory=Held)


class Admission:
    """Counts the tiles that are admitted and not done, and how many are done a second while there are any.

    Requests take turns, a tile each: before the last tile of one, each other has had at most as many as that one has.
    Any thread may call it; `_lock` guards every field. Invariant: `_queued` is the sum of the tiles of `_admitted`.
    """

    def __init__(self, max_queued_tiles: int, clock: Callable[[], float]) -> None:
        self.max_queued_tiles = max_queued_tiles
        self._clock = clock
        self._lock = threading.Lock()
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
        with self._lock:
            now = self._clock()
            if len(self._uploading) >= MAX_UPLOADS:
                stated = f"{len(self._uploading)} uploads are on their way, the most that are taken"
                raise QueueFull(f"{stated}; try again later", self._retry_after(len(self._admitted)))
            fresh = sum(now - reservation.since < FRESH_S for reservation in self._uploading)
            self._check(1, deadline, fresh)
            reservation = Reservation(now)
            self._uploading.add(reservation)
            return reservation

    def admit(self, reservation: Reservation, tiles: int, deadline: float) -> None:
        """Corrects the reservation to this many tiles, now that the image's header is known.

        Raises `TooManyTiles`, `QueueFull`, or `Cancelled` where the reservation was given back meanwhile.
        """
        if tiles > self.max_queued_tiles:
            limit = self.max_queued_tiles
            raise TooManyTiles(f"the image makes {tiles} tiles and at most {limit} are taken; give a smaller side")
        with self._lock:
            if reservation not in self._uploading:
                raise Cancelled("the request was cancelled")
            self._uploading.remove(reservation)
            self._check(tiles, deadline, 0)
            now = self._clock()
            if not self._queued:
                self._last = now
            reservation.since, reservation.tiles, reservation.uploading = now, tiles, False
            self._admitted.add(reservation)
            self._queued += tiles

    def tile_done(self, reservation: Reservation) -> None:
        """A tile of an admitted request is done; its last one is given back by `release`, after argmax and encoding."""
        with self._lock:
            if reservation in self._admitted and reservation.tiles > 1:
                self._give_back(reservation, 1, done=True)

    def release(self, reservation: Reservation, *, done: bool) -> None:
        """Gives the reservation back; `done` where its answer was made. Calling again does nothing."""
        with self._lock:
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


class Memory:
    """The budget. Any thread may call it; `_lock` guards every field.

    A quarter is for what is held while a request waits or is sent: beyond it, requests are refused, and nobody waits. The rest
    is for work, from decoding to encoding, which waits for it in the order of arrival: who works waits for nothing
    else, so that the wait ends. Invariant: `_held` is the sum of all holders' bytes, `_worked` that of the work under way.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most_held = int(limit * HELD_SHARE)
        self.most_worked = limit - self.most_held
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[object] = deque()
        self._held = 0
        self._worked = 0

    @property
    def taken(self) -> int:
        """Bytes that are held and worked with."""
        return self._held + self._worked

    def hold(self, held: Held, count: int, *, made: bool = False) -> None:
        """Corrects what a request holds to `count` bytes. Raises `QueueFull` where there is no room for more of them.

        `made`: they are there already, as an answer is, and are counted in any case.
        """
        with self._lock:
            more = count - held.bytes
            if more > 0 and not made and self._held + more > self.most_held:
                stated = f"bodies and answers of {self._held / 1e6:.0f} MB are held and at most {self.most_held / 1e6:.0f} are"
                raise QueueFull(f"{stated}; try again later", reason="memory")
            held.bytes = count
            self._held += more

    def check(self, count: int) -> None:
        """Raises `TooMuchMemory` where work with so many bytes could never begin."""
        if count > self.most_worked:
            stated = f"{count / 1e6:.0f} MB to be decoded and answered, and at most {self.most_worked / 1e6:.0f} are given"
            raise TooMuchMemory(f"the image takes {stated}; send a smaller one, or ask for a smaller side or a mask alone")

    @contextmanager
    def working(self, count: int, check: Callable[[], None]) -> Iterator[None]:
        """Waits until so many bytes may be worked with, and gives them back; raises what `check` raises meanwhile."""
        turn = object()
        with self._lock:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or self._worked + count > self.most_worked:
                    self._changed.wait(CHECK_S)
                    check()
                self._worked += count
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._worked -= count
                self._changed.notify_all()
