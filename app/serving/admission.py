"""Admits requests: gives them places, turns, memory and open files, or refuses them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from math import ceil, inf

from app.serving.clients import Client, Clients
from app.serving.errors import NeverFits, QueueFull
from app.serving.lanes import Lane, Turn
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import PLAN_BYTES, WorkerPlan

BODIES_SHARE = ANSWERS_SHARE = 0.25  # of the memory
FIRST_BYTES = 96 << 20  # of each image until it is planned: enough to plan it, and to work on a photo of a few megapixels
# an image above either limit is large: few large images run at once, so that small ones never wait for them
LARGE_MEGAPIXELS, LONG_S = 4.0, 1.0  # the latter: seconds of the network
DEADLINE_SHARE = 0.5  # of the time to its deadline that a request may need: so it is in time even at half the measured speed
LONGEST_RETRY_S = 600
MORE_MEMORY = "the operator can raise SEGMENT_MEMORY_MB or the container's memory"
CHECK_S = 1.0  # seconds between checks for slow readers
SMALL_RATE, LARGE_RATE = 10.0, 20.0  # units of work per second of each lane, until a rate is measured


class Reservation(ExitStack):
    """Everything that an image holds in the service: a place, a turn, memory, open files, the bytes of its file and its answer.

    A request gets its reservation when its head has arrived, before its image is known. The end of the `with` block, or an
    earlier `close`, gives everything back. Either also runs the functions that `callback` of `ExitStack` got; these close the
    bytes of the file and the answer. A client may read slowly, so the service gives some things back earlier: the file once a
    worker has it (`set_plan`), everything but the answer once the image is done (`release`), and everything before it sends a
    problem (`close`, by `app.middleware`).
    Only for the event loop. sender: who sent the request; turns are fair to senders. client: the client to close if it is slow
    while other requests wait; None for work that outlives its request.
    """

    def __init__(self, admission: Admission, sender: str, client: Client | None = None) -> None:
        super().__init__()
        self.client, self.sender = client, sender
        self.turn: Turn | None = None
        self._admission = admission
        self._file, self._deadline = Blob(), 0.0

    def __exit__(self, *error: object) -> None:
        try:
            super().__exit__(None, None, None)
        finally:
            self.release()

    @property
    def is_in_work(self) -> bool:
        """Whether the image has its turn and is not done."""
        return self.turn is not None and self.turn.has_come.is_set()

    def take_place(self, deadline: float) -> None:
        """Takes a place for a request when its head has arrived, before its body is read.

        If `max_requests` requests have places, slow uploads, or else the slowest one, are closed to make room. Raises
        `QueueFull` if none can be closed, or if the queue has no room.
        """
        admission, places = self._admission, self._admission.places
        uploaders = (other.client for other in places if other.client and other.client.is_uploading)
        if len(places) >= admission.max_requests and not admission.clients.close_slowest(uploaders):
            message = f"{len(places)} requests are in progress, which is the limit"
            raise QueueFull(message, _retry_s(admission.queue_seconds))
        self.check_queue(deadline)
        places[self] = None

    def check_queue(self, deadline: float) -> None:
        """Raises `QueueFull` if the queue has no room for one more image."""
        self._admission.check_queue(self, self._admission.small, 1, 1.0, deadline)

    def set_body(self, count: int) -> None:
        """Sets how many bytes of memory the request's body uses.

        Raises `QueueFull` if the body grows and the memory of bodies has no room now, `NeverFits` if it never has so much.
        """
        bodies, most = self._admission.bodies, self._admission.most_bodies
        own, used = bodies.get(self, 0), sum(bodies.values())
        if count > most:
            need = f"{count / 1e6:.0f} MB of memory or more, and bodies may use at most {most / 1e6:.0f} MB"
            raise NeverFits(f"the body takes {need}; send a smaller image; {MORE_MEMORY}")
        if count > own and used - own + count > most:
            self._admission.close_slow(bodies)
            message = f"bodies use {used / 1e6:.0f} MB of memory and may use at most {most / 1e6:.0f} MB"
            raise QueueFull(message, reason="memory")
        bodies[self] = count

    def add_file(self) -> None:
        """Counts one more open file of the request.

        Raises `QueueFull` if the service may open no more files now, `NeverFits` if it may never open so many.
        """
        files, most = self._admission.files, self._admission.most_files
        count, used = files.get(self, 0) + 1, sum(files.values())
        if count > most:
            need = f"{count} or more images above 64 KiB, and the service may open {most} files for them"
            raise NeverFits(f"the batch has {need}; send fewer at once")
        if used >= most:
            self.close_slow_batches()
            raise QueueFull(f"{used} files of batches are open and at most {most} are allowed")
        files[self] = count

    def close_slow_batches(self) -> None:
        """Closes slow clients whose requests hold open files, because another request may open none."""
        self._admission.close_slow(self._admission.files)

    def ask(self, file: Blob, deadline: float) -> None:
        """Joins the small lane, for a turn in which a worker plans the image in this file. Raises `QueueFull`.

        `wait` waits for the turn.
        """
        self._file, self._deadline = file, deadline
        self.check_queue(deadline)
        self._join(self._admission.small, 1, 1.0, FIRST_BYTES)

    def set_plan(self, plan: WorkerPlan) -> None:
        """Sets what the planned image needs. Raises `NeverFits` or `QueueFull`.

        The image keeps its turn if it belongs in the lane of its turn and the memory that it needs is free. Else it joins its
        lane for another turn, which may come at once. Afterwards `is_in_work` says whether the image has its turn.
        If it has, the worker goes on. The worker has the file by now, so `set_plan` closes the file here; the bytes of the turn
        include it. If the image waits, a worker plans it again in its next turn.
        """
        assert self.turn
        admission, (network_bytes, seconds) = self._admission, plan.network
        is_large = plan.megapixels > LARGE_MEGAPIXELS or seconds > LONG_S
        large_work = plan.tile_count + plan.megapixels + LARGE_RATE * seconds
        lane, work = (admission.large, large_work) if is_large else (admission.small, 1.0)
        # a large image may be planned again in its next turn, so the bytes of that turn must be enough to plan it
        count = self._file.length + max(plan.bytes, PLAN_BYTES if is_large else 0) + network_bytes
        admission.check_limits(plan.tile_count, count, seconds)
        admission.check_queue(self, lane, plan.tile_count, work, self._deadline)
        if lane is self.turn.lane and admission.has_memory(count - self.turn.bytes):
            lane.plan(self.turn, plan.tile_count)
            self.turn.bytes = count
            admission.give_turns()
        else:
            self.turn.lane.leave(self.turn, is_done=False)
            self._join(lane, plan.tile_count, work, count)
        # while the image waits, its file counts as a body
        admission.bodies[self] = 0 if self.is_in_work else self._file.length
        if self.is_in_work:
            self._file.close()

    def _join(self, lane: Lane, tiles: int, work: float, count: int) -> None:
        """Joins the lane, for a turn with `count` bytes of memory. The turn may come at once."""
        self.turn = Turn(lane, self.sender, tiles, work, count, self._admission.clock())
        lane.join(self.turn)
        self._admission.give_turns()

    async def wait(self) -> None:
        """Waits for the image's turn. Closes slow readers meanwhile."""
        assert self.turn
        while not self.turn.has_come.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self.turn.has_come.wait()
            self._admission.close_slow_readers(self.turn)

    def release(self, answer_bytes: int = 0) -> None:
        """Gives everything back. answer_bytes: above 0 if the image is done; it holds these bytes until its answer is sent."""
        if turn := self.turn:
            self.turn = None
            turn.lane.leave(turn, is_done=answer_bytes > 0)
        admission = self._admission
        for holders in (admission.places, admission.bodies, admission.answers, admission.files):
            holders.pop(self, None)
        if answer_bytes:
            admission.answers[self] = answer_bytes
        admission.give_turns()


class Admission:
    """The state of all reservations, and the rules for them. Only for the event loop.

    `bodies`, `answers` and `files` map a reservation to the amount that it holds: bytes of memory, or open files of a batch.
    `places` has the reservations of requests that are not answered. An image in work holds the bytes of its turn.

    A quarter of the memory is for bodies; uploads beyond it are refused. The rest is for work and answers. A turn begins only
    if the memory has room for its bytes, and if answers use less than a quarter of all memory.

    A worker plans each image in a turn of the small lane, which has `FIRST_BYTES`. If the image is large, or needs memory that
    is not free, it waits for another turn; large images have a lane of their own. Each lane with a free place has a next image.
    Of these images, the one that has waited longest begins first. The others wait for it even if it needs much memory and they
    do not: else smaller images might keep it waiting for ever.

    A request is refused if its lane has no room for its tiles, or if the lane, at its measured rate, would be done too near the
    deadline. While the lane has a free place, no request is refused for time, so that a wrong rate is soon measured anew.
    """

    def __init__(
        self, *, max_queued_tiles: int, memory_bytes: int, workers: int, large_places: int, clients: Clients,
        timeout_s: float = inf, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """max_queued_tiles: of each lane. large_places: how many large images are in work at once. timeout_s: of requests."""
        self.max_queued_tiles, self.most_seconds = max_queued_tiles, DEADLINE_SHARE * timeout_s
        self.max_requests, self.most_files = 1024, 1 << 14  # the server sets what it has room for
        self.memory_bytes = memory_bytes
        self.most_bodies, self.most_answers = int(memory_bytes * BODIES_SHARE), int(memory_bytes * ANSWERS_SHARE)
        self.most_work = memory_bytes - self.most_bodies
        self.clients, self.clock = clients, clock
        self.small, self.large = Lane(workers, SMALL_RATE, clock), Lane(large_places, LARGE_RATE, clock)
        self.lanes = (self.small, self.large)
        self.places: dict[Reservation, None] = {}
        self.bodies, self.answers, self.files = (dict[Reservation, int]() for _ in range(3))

    def acquire(self, client: Client, sender: str, deadline: float) -> Reservation:
        """A reservation with a place, for a request whose head has arrived. Raises `QueueFull`."""
        reservation = Reservation(self, sender, client)
        try:
            reservation.take_place(deadline)
        except BaseException:
            reservation.close()
            raise
        return reservation

    def split(self, reservation: Reservation, count: int) -> list[Reservation]:
        """Releases the reservation of a request of several images. Returns one for each image, without a place."""
        reservation.release()
        return [Reservation(self, reservation.sender, reservation.client) for _ in range(count)]

    @property
    def queued_tiles(self) -> int:
        """Tiles of images that are not done, in the lane that has more. Any thread may read this and the next two."""
        return max(lane.tiles for lane in self.lanes)

    @property
    def queue_seconds(self) -> float:
        """Seconds until both lanes are done with all images."""
        return max(lane.seconds(lane.work) for lane in self.lanes)

    @property
    def work_bytes(self) -> int:
        """Bytes of the images in work."""
        return sum(turn.bytes for lane in self.lanes for turn in list(lane.working))

    @property
    def used_bytes(self) -> int:
        """Bytes of the memory that requests use now: bodies, work and answers."""
        return sum(self.bodies.values()) + self.work_bytes + sum(self.answers.values())

    def check_limits(self, tiles: int, count: int, seconds: float = 0.0) -> None:
        """Raises `NeverFits` if an image could never begin.

        tiles, count: the tiles and the bytes of memory that the image needs. seconds: the known time of the network for it.
        """
        if seconds > self.most_seconds:
            need = f"about {seconds:.0f} s of the network, and an image may take at most {self.most_seconds:.0f} s"
            advice = "give a smaller side, or quality=standard; the operator can raise SEGMENT_REQUEST_TIMEOUT_S"
            raise NeverFits(f"the image takes {need}; {advice}")
        if tiles > self.max_queued_tiles:
            advice = "give a smaller side, or quality=standard; the operator can raise SEGMENT_MAX_QUEUED_TILES"
            raise NeverFits(f"the image has {tiles} tiles; the limit is {self.max_queued_tiles}; {advice}")
        if count > self.most_work:
            need = f"{count / 1e6:.0f} MB of memory, and at most {self.most_work / 1e6:.0f} MB are available"
            advice = "send a smaller one, or ask for less (format=png, side=auto, quality=standard)"
            raise NeverFits(f"the image takes {need}; {advice}; {MORE_MEMORY}")

    def check_queue(self, reservation: Reservation, lane: Lane, tiles: int, work: float, deadline: float) -> None:
        """Raises `QueueFull` if the lane has no room for an image, or would be done with it too near its deadline.

        tiles, work: of the image; work is in units of the lane. deadline: a time of the clock. The tiles that the reservation
        already has in the lane do not count as queued.
        """
        own = reservation.turn
        queued_tiles = lane.tiles - (own.tiles if own and own.lane is lane else 0)
        before_s = lane.seconds(lane.before(reservation.sender, work))
        if queued_tiles + tiles > self.max_queued_tiles:
            message = f"{queued_tiles} tiles are queued and at most {self.max_queued_tiles} are allowed"
            raise QueueFull(message, _retry_s(before_s))
        has_free_place = own in lane.working or (not lane.waiting and len(lane.working) < lane.places)
        needed_s = before_s + lane.seconds(work)
        if not has_free_place and needed_s > DEADLINE_SHARE * (deadline - self.clock()):
            problem = f"this request would be done in {needed_s:.1f} s, too close to its deadline"
            raise QueueFull(f"{queued_tiles} tiles are queued, and {problem}", _retry_s(before_s), "deadline")

    def has_memory(self, count: int) -> bool:
        """Whether the images in work may use `count` more bytes."""
        answers = sum(self.answers.values())
        return count <= 0 or (answers < self.most_answers and self.work_bytes + answers + count <= self.most_work)

    def give_turns(self) -> None:
        """Begins the next turns, as far as places and memory allow."""
        while (turn := self._next_turn()) and self.has_memory(turn.bytes):
            turn.lane.begin(turn)

    def _next_turn(self) -> Turn | None:
        turns = [turn for lane in self.lanes if (turn := lane.next_turn)]
        return min(turns, key=lambda turn: turn.since, default=None)

    def close_slow(self, holders: Mapping[Reservation, int]) -> None:
        """Closes slow clients among the holders of a resource that other requests need."""
        self.clients.close_slow(each.client for each, amount in holders.items() if each.client and amount)

    def close_slow_readers(self, turn: Turn) -> None:
        """Closes slow readers if this turn is the next one, and would have enough memory if no answer used any."""
        if turn is self._next_turn() and self.work_bytes + turn.bytes <= self.most_work:
            self.close_slow(self.answers)


def _retry_s(seconds: float) -> int:
    """Whole seconds for `Retry-After`: at least 1, at most `LONGEST_RETRY_S`."""
    return min(LONGEST_RETRY_S, max(1, ceil(seconds)))
