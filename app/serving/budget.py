"""The memory budget of all requests: bodies, work on images, and answers that are being sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.serving.errors import QueueFull, TooMuchMemory
from model.inference.processes.worker_main import PLAN_BYTES

PLANNERS = 2  # images that are planned at once
PLANNING_BYTES = PLANNERS * PLAN_BYTES
BODIES_SHARE = ANSWERS_SHARE = 0.25  # of the budget
SLOW_BYTES_PER_SECOND = 100_000  # a slower reader is closed while others wait for the memory that its answer holds
SLOW_S = 5.0  # seconds over which a reader's rate is measured
CHECK_S = 1.0  # seconds between checks for slow readers


@dataclass(eq=False)
class MemoryUse:
    """Bytes that one request uses: for its body, its work, and its answer. large: whether a large image is in work."""

    body: int = 0
    work: int = 0
    answer: int = 0
    large: bool = False


@dataclass(eq=False)
class Sending:
    """An answer that is being sent.

    sent_bytes: bytes handed to the operating system so far. since: when the current measurement of its rate began.
    rate_from_bytes: the value of `sent_bytes` at that time. abort: closes the connection.
    """

    since: float
    abort: Callable[[], None]
    sent_bytes: int = 0
    rate_from_bytes: int = 0


@dataclass(eq=False)
class _Turn:
    """Work that waits for memory. `future` is done once it has its bytes."""

    use: MemoryUse
    bytes: int
    large: bool
    future: asyncio.Future[None]


class Budget:
    """Counts the memory that requests use, up to `limit` bytes. Only for the event loop.

    `PLANNING_BYTES` are set aside for planning. A quarter of the limit is for bodies; uploads beyond it are refused. The rest
    is for work and answers. Work waits for memory in order of arrival. None starts while answers use a quarter of the limit or
    more. While work waits for memory that answers use, connections that read slowly are closed. At most `large_works` large
    images are in work at once; other images overtake a large image that waits for this reason.
    """

    def __init__(self, limit: int, large_works: int) -> None:
        self.limit = limit
        self.most_bodies = int(limit * BODIES_SHARE)
        self.most_answers = int(limit * ANSWERS_SHARE)
        self.most_work = limit - self.most_bodies - PLANNING_BYTES
        self.large_works = large_works
        self._turns: deque[_Turn] = deque()
        self._sendings: dict[Sending, None] = {}
        self._bodies = self._work = self._answers = self._large = 0

    @property
    def used_bytes(self) -> int:
        """Bytes that requests use now, without those set aside for planning."""
        return self._bodies + self._work + self._answers

    def hold_body(self, use: MemoryUse, count: int) -> None:
        """Sets the bytes that a request's body uses. Raises `QueueFull` if it grows and there is no room."""
        growth = count - use.body
        if growth > 0 and self._bodies + growth > self.most_bodies:
            message = f"bodies use {self._bodies / 1e6:.0f} MB of memory and may use at most {self.most_bodies / 1e6:.0f} MB"
            raise QueueFull(f"{message}; try again later", reason="memory")
        use.body = count
        self._bodies += growth

    def check(self, count: int, advice: str = "send a smaller one") -> None:
        """Raises `TooMuchMemory` if work that needs `count` bytes could never begin. advice: what to do then."""
        if count > self.most_work:
            need = f"{count / 1e6:.0f} MB of memory, and at most {self.most_work / 1e6:.0f} MB are available"
            raise TooMuchMemory(f"the image takes {need}; {advice}")

    def start_now(self, use: MemoryUse, count: int, *, large: bool) -> bool:
        """Gives the work its bytes if that is possible without waiting, and says whether it did.

        It is impossible while other work waits, while too few bytes are free, or, for a large image, while `large_works` other
        large images are in work.
        """
        if self._turns or not self._fits(count, large):
            return False
        self._start(use, count, large)
        return True

    async def start(self, use: MemoryUse, count: int, *, large: bool) -> None:
        """Waits for the work's turn, then gives it its bytes. Closes slow readers while it waits."""
        loop = asyncio.get_running_loop()
        turn = _Turn(use, count, large, loop.create_future())
        self._turns.append(turn)
        try:
            self._give_turns()
            while not turn.future.done():
                await asyncio.wait([turn.future], timeout=CHECK_S)
                self._close_slow(loop.time())
        except asyncio.CancelledError:
            self.end(use)
            raise
        finally:
            if turn in self._turns:
                self._turns.remove(turn)
                self._give_turns()

    def hold_answer(self, use: MemoryUse, count: int) -> None:
        """Frees the bytes of work that is done. Its answer uses `count` bytes until `end`."""
        self._work -= use.work
        self._large -= use.large
        self._answers += count - use.answer
        use.work, use.answer, use.large = 0, count, False
        self._give_turns()

    def end(self, use: MemoryUse) -> None:
        """Frees all bytes of a request. Calling it again does nothing."""
        self._bodies -= use.body
        use.body = 0
        self.hold_answer(use, 0)

    @contextmanager
    def sending(self, since: float, abort: Callable[[], None]) -> Iterator[Sending]:
        """Registers an answer while it is being sent, so that `abort` can close the connection of a slow reader."""
        sending = Sending(since, abort)
        self._sendings[sending] = None
        try:
            yield sending
        finally:
            del self._sendings[sending]

    def _may_start(self, large: bool) -> bool:
        """Whether the number of large images in work allows another image, `large` or not."""
        return not large or self._large < self.large_works

    def _fits(self, count: int, large: bool) -> bool:
        has_memory = self._work + self._answers + count <= self.most_work and self._answers < self.most_answers
        return has_memory and self._may_start(large)

    def _start(self, use: MemoryUse, count: int, large: bool) -> None:
        use.work, use.large = count, large
        self._work += count
        self._large += large

    def _give_turns(self) -> None:
        """Starts waiting work in order of arrival, as far as memory allows. Skips large images while enough are in work."""
        for turn in list(self._turns):
            if not self._may_start(turn.large):
                continue
            if not self._fits(turn.bytes, turn.large):
                return
            self._turns.remove(turn)
            if not turn.future.done():
                self._start(turn.use, turn.bytes, turn.large)
                turn.future.set_result(None)

    def _close_slow(self, now: float) -> None:
        """Closes connections whose rate over at least `SLOW_S` seconds was too low.

        Does nothing unless work waits, and would have enough memory if there were no answers.
        """
        first = next((turn for turn in self._turns if self._may_start(turn.large)), None)
        if not first or self._work + first.bytes > self.most_work:
            return
        for sending in list(self._sendings):
            seconds = now - sending.since
            if seconds < SLOW_S:
                continue
            if sending.sent_bytes - sending.rate_from_bytes < SLOW_BYTES_PER_SECOND * seconds:
                sending.abort()
            # measure anew from here: the operating system takes some megabytes at once, however slowly the client reads
            sending.since, sending.rate_from_bytes = now, sending.sent_bytes
