"""The memory that requests take together: bodies, images that are worked on, and answers that are being sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.serving.errors import QueueFull, TooMuchMemory
from model.inference.worker_main import PLAN_BYTES

PLANNERS = 2  # images that are planned at once
PLANNING_BYTES = PLANNERS * PLAN_BYTES
BODIES_SHARE = ANSWERS_SHARE = 0.25  # of the budget
SLOW_BYTES_PER_SECOND = 100_000  # of a reader that is closed where others wait for what its answer holds,
SLOW_S = 5.0  # after so many seconds
CHECK_S = 1.0  # between two looks at readers


@dataclass(eq=False)
class MemoryUse:
    """Bytes of one request: its body, its work, and its answer."""

    body: int = 0
    work: int = 0
    answer: int = 0
    large: bool = False


@dataclass(eq=False)
class Sending:
    """An answer of which `sent` bytes have gone to the system, `marked` of them at the time `since`. `abort` closes it."""

    since: float
    abort: Callable[[], None]
    sent: int = 0
    marked: int = 0


@dataclass(eq=False)
class _Turn:
    use: MemoryUse
    bytes: int
    large: bool
    future: asyncio.Future[None]


class Budget:
    """Counts what requests take, up to `limit` bytes. For the event loop alone.

    A part is set aside for planning, a quarter is for bodies: beyond it, uploads are refused. The rest is for work and answers.
    Work waits for it in order of arrival, and while answers take a quarter of the budget; readers that are slow meanwhile are
    closed. At most `large_works` large images are worked on at once; others pass those that wait for that.
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
    def used(self) -> int:
        """Bytes that requests take now; what is set aside for planning is not among them."""
        return self._bodies + self._work + self._answers

    def hold_body(self, use: MemoryUse, count: int) -> None:
        """Corrects the bytes of a request's body. Raises `QueueFull` where there is no room for more of them."""
        more = count - use.body
        if more > 0 and self._bodies + more > self.most_bodies:
            stated = f"bodies of {self._bodies / 1e6:.0f} MB are held and at most {self.most_bodies / 1e6:.0f} are"
            raise QueueFull(f"{stated}; try again later", reason="memory")
        use.body = count
        self._bodies += more

    def check(self, count: int) -> None:
        """Raises `TooMuchMemory` where work with so many bytes could never begin."""
        if count > self.most_work:
            stated = f"{count / 1e6:.0f} MB to be decoded and answered, and at most {self.most_work / 1e6:.0f} are given"
            raise TooMuchMemory(f"the image takes {stated}; send a smaller one, or ask for a smaller side or a mask alone")

    def start_now(self, use: MemoryUse, count: int, *, large: bool) -> bool:
        """Gives the work its bytes, where they are free, nobody waits for them, and a large image may be worked on."""
        if self._turns or not self._fits(count, large):
            return False
        self._start(use, count, large)
        return True

    async def start(self, use: MemoryUse, count: int, *, large: bool) -> None:
        """Gives the work its bytes once it is its turn."""
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

    def answered(self, use: MemoryUse, count: int) -> None:
        """The work is done; its answer takes so many bytes until `end`."""
        self._work -= use.work
        self._large -= use.large
        self._answers += count - use.answer
        use.work, use.answer, use.large = 0, count, False
        self._give_turns()

    def end(self, use: MemoryUse) -> None:
        """Nothing of the request is in memory any more. Calling it again does nothing."""
        self._bodies -= use.body
        use.body = 0
        self.answered(use, 0)

    @contextmanager
    def sending(self, since: float, abort: Callable[[], None]) -> Iterator[Sending]:
        """While an answer is being sent, so that a slow reader can be closed."""
        sending = Sending(since, abort)
        self._sendings[sending] = None
        try:
            yield sending
        finally:
            del self._sendings[sending]

    def _may_start(self, large: bool) -> bool:
        """Whether an image of its kind may be worked on beside those that are."""
        return not large or self._large < self.large_works

    def _fits(self, count: int, large: bool) -> bool:
        in_bytes = self._work + self._answers + count <= self.most_work and self._answers < self.most_answers
        return in_bytes and self._may_start(large)

    def _start(self, use: MemoryUse, count: int, large: bool) -> None:
        use.work, use.large = count, large
        self._work += count
        self._large += large

    def _give_turns(self) -> None:
        """To those that wait, in order; a large image that waits for others of its kind is passed by."""
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
        """Closes readers that were slow for the last seconds, where what their answers hold is all that is lacking."""
        first = next((turn for turn in self._turns if self._may_start(turn.large)), None)
        if not first or self._work + first.bytes > self.most_work:
            return
        for sending in list(self._sendings):
            seconds = now - sending.since
            if seconds < SLOW_S:
                continue
            if sending.sent - sending.marked < SLOW_BYTES_PER_SECOND * seconds:
                sending.abort()
            # from here on anew: the system takes some megabytes at once, however slowly the client reads
            sending.since, sending.marked = now, sending.sent
