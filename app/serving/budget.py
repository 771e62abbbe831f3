"""The memory and the open files of all requests: bodies, work on images, and answers that are being sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.serving.clients import Clients
from app.serving.errors import QueueFull, TooManyFiles, TooMuchMemory
from app.serving.reservation import Reservation
from model.inference.processes.protocol import PLAN_BYTES

LEAST_PLANNERS = 2  # images that are planned at once
PLANNING_BYTES = LEAST_PLANNERS * PLAN_BYTES
PLANNING_SHARE = 1 / 8  # of the budget, for further images that are planned at once
GRANTED_BYTES = 96 << 20  # for an image that begins before its plan has arrived; photos of a few megapixels need no more
BODIES_SHARE = ANSWERS_SHARE = 0.25  # of the budget
MOST_FILES = 1 << 14  # of all batches
CHECK_S = 1.0  # seconds between checks for slow readers


@dataclass(eq=False)
class _Turn:
    """Work that waits for memory. `future` is done once it has its bytes."""

    reservation: Reservation
    bytes: int
    large: bool
    future: asyncio.Future[None]


def planner_count(limit: int, cores: int) -> int:
    """How many images are planned at once in a budget of `limit` bytes: one for two cores, as far as the budget allows."""
    return max(LEAST_PLANNERS, min(cores // 2, int(limit * PLANNING_SHARE) // PLAN_BYTES))


class Budget:
    """Counts the memory that requests use, up to `limit` bytes, and the files of batches. Only for the event loop.

    `PLAN_BYTES` are set aside for each of the `planners`, images that are planned at the same time. A quarter of the limit is
    for bodies; uploads beyond it are refused. The rest is for work and answers. Work waits for memory: clients take turns, and
    the work of each starts in order of arrival. None starts while answers use a quarter of the limit or more. At most
    `large_works` large images are in work at once; other images overtake a large image that waits for this reason. Slow
    clients are closed if others wait for what their requests hold, or were refused for lack of it.
    """

    def __init__(self, limit: int, large_works: int, clients: Clients, planners: int = LEAST_PLANNERS) -> None:
        self.limit = limit
        self.planners = planners
        self.most_bodies = int(limit * BODIES_SHARE)
        self.most_answers = int(limit * ANSWERS_SHARE)
        self.most_work = limit - self.most_bodies - planners * PLAN_BYTES
        self.most_files = MOST_FILES
        self.large_works = large_works
        self._clients = clients
        self._turns: deque[_Turn] = deque()
        self._starts: dict[str, int] = {}  # of each client whose work waits: the number of its latest start
        self._start_count = 0
        self._bodies = self._work = self._answers = self._large = self._files = 0

    @property
    def used_bytes(self) -> int:
        """Bytes that requests use now, without those set aside for planning."""
        return self._bodies + self._work + self._answers

    def hold_body(self, reservation: Reservation, count: int) -> None:
        """Sets the bytes that a request's body uses. Raises `QueueFull` if it grows and there is no room."""
        growth = count - reservation.body_bytes
        if growth > 0 and self._bodies + growth > self.most_bodies:
            self._clients.close_slow(lambda other: other.body_bytes > 0)
            message = f"bodies use {self._bodies / 1e6:.0f} MB of memory and may use at most {self.most_bodies / 1e6:.0f} MB"
            raise QueueFull(f"{message}; try again later", reason="memory")
        reservation.body_bytes = count
        self._bodies += growth

    def hold_files(self, reservation: Reservation, count: int) -> None:
        """Sets the number of a request's files. Raises `QueueFull` if there is no room, `TooManyFiles` if there never is."""
        if count > self.most_files:
            need = f"{count} or more images above 64 KiB, and the service may open {self.most_files} files for them"
            raise TooManyFiles(f"the batch has {need}; send fewer at once")
        if count > reservation.files and self._files + count - reservation.files > self.most_files:
            self.on_full_disk()
            message = f"{self._files} files of batches are open and at most {self.most_files} are allowed"
            raise QueueFull(f"{message}; try again later")
        self._files += count - reservation.files
        reservation.files = count

    def on_full_disk(self) -> None:
        """Closes slow clients that hold files, because there was no room for another one."""
        self._clients.close_slow(lambda other: other.files > 0)

    def check(self, count: int, advice: Callable[[], str] = lambda: "send a smaller one") -> None:
        """Raises `TooMuchMemory` if work that needs `count` bytes could never begin. advice: says what to do then."""
        if count > self.most_work:
            need = f"{count / 1e6:.0f} MB of memory, and at most {self.most_work / 1e6:.0f} MB are available"
            raise TooMuchMemory(f"the image takes {need}; {advice()}")

    def start_now(self, reservation: Reservation, count: int, *, large: bool) -> bool:
        """Replaces the bytes that the work has by `count` if that needs no waiting, and returns True.

        Otherwise the work has none afterwards, and it returns False: while other work waits for memory, while too few bytes are
        free, or, for a large image, while `large_works` other large images are in work.
        """
        if count <= reservation.work_bytes and large == reservation.has_large_work:
            self._work -= reservation.work_bytes - count
            reservation.work_bytes = count
            self._give_turns()
            return True
        self._end_work(reservation)
        if self._first_turn() or not self._fits(count, large):
            return False
        self._start(reservation, count, large)
        return True

    async def start(self, reservation: Reservation, count: int, *, large: bool) -> None:
        """Waits for the work's turn, then gives it its bytes. Closes slow readers while it waits."""
        turn = _Turn(reservation, count, large, asyncio.get_running_loop().create_future())
        self._turns.append(turn)
        try:
            self._give_turns()
            while not turn.future.done():
                await asyncio.wait([turn.future], timeout=CHECK_S)
                self._close_slow_readers()
        finally:
            if turn in self._turns:
                self._turns.remove(turn)
                self._give_turns()

    def hold_answer(self, reservation: Reservation, count: int) -> None:
        """The work is done: frees its bytes, and counts `count` bytes for its answer until `end`."""
        self._answers += count - reservation.answer_bytes
        reservation.answer_bytes = count
        self._end_work(reservation)

    def end(self, reservation: Reservation) -> None:
        """Frees all that a request uses. Calling it again does nothing."""
        self._bodies -= reservation.body_bytes
        self._files -= reservation.files
        reservation.body_bytes = reservation.files = 0
        self.hold_answer(reservation, 0)

    def _end_work(self, reservation: Reservation) -> None:
        self._work -= reservation.work_bytes
        self._large -= reservation.has_large_work
        reservation.work_bytes, reservation.has_large_work = 0, False
        self._give_turns()

    def _may_start(self, large: bool) -> bool:
        """Whether the number of large images in work allows another image, `large` or not."""
        return not large or self._large < self.large_works

    def _fits(self, count: int, large: bool) -> bool:
        has_memory = self._work + self._answers + count <= self.most_work and self._answers < self.most_answers
        return has_memory and self._may_start(large)

    def _start(self, reservation: Reservation, count: int, large: bool) -> None:
        reservation.work_bytes, reservation.has_large_work = count, large
        self._work += count
        self._large += large

    def _first_turn(self) -> _Turn | None:
        """The waiting work whose turn it is: of the client whose work has not started for longest, the one that came first.

        Skips large images while enough are in work.
        """
        turns = [turn for turn in self._turns if self._may_start(turn.large)]
        return min(turns, key=lambda turn: self._starts.get(turn.reservation.sender, 0), default=None)

    def _give_turns(self) -> None:
        """Starts waiting work, as far as memory allows."""
        while (turn := self._first_turn()) and self._fits(turn.bytes, turn.large):
            self._turns.remove(turn)
            if turn.future.done():
                continue
            self._start(turn.reservation, turn.bytes, turn.large)
            self._start_count += 1
            self._starts[turn.reservation.sender] = self._start_count
            waiting = {other.reservation.sender for other in self._turns}
            self._starts = {client: number for client, number in self._starts.items() if client in waiting}
            turn.future.set_result(None)

    def _close_slow_readers(self) -> None:
        """Closes slow readers if work waits that would have enough memory without any answers."""
        turn = self._first_turn()
        if turn and self._work + turn.bytes <= self.most_work:
            self._clients.close_slow(lambda other: other.answer_bytes > 0)
