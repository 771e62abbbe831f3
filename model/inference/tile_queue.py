"""The waiting tiles of each request, and which run next: one of each in turn, then those of the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from model.inference.errors import DeadlinePassed, InferenceError
from model.inference.merging import Logits
from model.inference.runtime import Device, Tile, most_tiles

LONG_S = 1.0  # seconds of the network that a photo does not need, also on slow processors
BUSY_S = 5.0  # seconds in which another request may come after the last one
QUIET_S = 120.0  # seconds without a request after which the background may use all streams
STARVED_S = 2.0  # longest wait of the background after its pause, while tiles of requests wait
BACKGROUND_SHARE = 0.1  # of the time of a device, for the background while requests come


class Item(NamedTuple):
    """A tile, the future that receives its logits, and the queue of its request."""

    tile: Tile
    future: Future[Logits]
    queue: TileQueue

    def resolve(self, result: Logits | Exception) -> None:
        """Gives the future this result, unless `Scheduler.fail` or a cancellation came first. The scheduler's lock is held."""
        with suppress(InvalidStateError):
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)


@dataclass(eq=False)
class TileQueue:
    """The waiting tiles of one request, or of one work in the background. The scheduler's lock guards it.

    deadline, submit_time (when the first tile arrived) and start_time (when its first batch began): of the scheduler's clock.
    is_background: whether its tiles run only while those of requests leave time.
    seconds: in which its tiles have run; those of a batch share its time.
    """

    deadline: float
    is_background: bool = False
    waiting: deque[Item] = field(default_factory=deque)
    is_cancelled: bool = False
    submit_time: float | None = None
    start_time: float | None = None
    seconds: float = 0.0

    @property
    def is_long(self) -> bool:
        """Whether it is a request whose tiles have run for so long that other requests come first."""
        return not self.is_background and self.seconds >= LONG_S

    @property
    def wait_seconds(self) -> float:
        """Seconds from the arrival of the first tile to the start of its batch; 0 before that."""
        return 0.0 if self.submit_time is None or self.start_time is None else self.start_time - self.submit_time

    def fail(self, error: Exception) -> None:
        """Answers every waiting tile with the error. The scheduler's lock is held."""
        for item in self.waiting:
            item.resolve(error)
        self.waiting.clear()


Batch = Sequence[Item]


class TileTurns:
    """The waiting tiles of all queues, in the order of their turns. The scheduler's lock guards it.

    Requests:

    - A batch has tiles of one shape: one of each queue in turn, as many as `max_batch` and the device's memory allow.
    - It starts at once on an idle device. On a device that runs batches, it starts if fewer run than `runtime.concurrency`
      allows for all tiles that wait or run, and if at least half as many tiles wait as the largest running batch has.
    - On a CPU, tiles of long requests run one at a time, on all cores, if tiles of others were here in the last `BUSY_S`
      seconds: those then wait for one tile.

    The background, whose tiles run only when no tile of a request waits:

    - Requests *come* while a tile of one runs on the device, and until `BUSY_S` after a request was announced or a tile of one
      ended on any device. Meanwhile the background has one tile at a time, on an idle device, and pauses after each, so that it
      has `BACKGROUND_SHARE` of the time.
    - From then until `QUIET_S` after the same event, it has one batch at a time, so that a rare request waits for one batch.
    - While tiles of requests wait all the time, it has a tile `STARVED_S` after the end of its pause.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        # each queue with waiting tiles is in one of them, once
        self._requests: deque[TileQueue] = deque()
        self._background: deque[TileQueue] = deque()
        self._mixed_time = -inf  # when tiles of long and of other requests were last here at the same time
        self._waiting_since = -inf  # when a tile of the background came while none waited
        self._request_time = -inf  # when a request was last announced, or a tile of one last ran

    def __bool__(self) -> bool:
        """Whether tiles wait."""
        return bool(self._requests or self._background)

    def add(self, item: Item, running: Collection[TileQueue], now: float) -> None:
        """Adds a tile. A queue without waiting tiles comes before those whose tiles are running: they have their turn now."""
        queue = item.queue
        queue.submit_time = now if queue.submit_time is None else queue.submit_time
        queue.waiting.append(item)
        if len(queue.waiting) > 1:
            return
        queues = self._queues_of(queue)
        if queue.is_background and not queues:
            self._waiting_since = now
        place = len(queues)
        if queue not in running:
            place = next((i for i, other in enumerate(queues) if other in running), place)
        queues.insert(place, queue)

    def drop(self, queue: TileQueue, error: InferenceError) -> None:
        """Answers all waiting tiles of the queue with the error."""
        if queue.waiting:
            self._queues_of(queue).remove(queue)
            queue.fail(error)

    def drop_all(self, error: InferenceError) -> None:
        """Answers all waiting tiles with the error."""
        for queue in [*self._requests, *self._background]:
            self.drop(queue, error)

    def take(self, device: Device, batches: Sequence[Batch], now: float) -> list[Item]:
        """Takes a batch for the device; an empty list if none may start now. batches: those that run on the device.

        Queues whose next tile has another shape than the batch are first in the next batch.
        """
        for queue in [queue for queue in [*self._requests, *self._background] if queue.deadline <= now]:
            self.drop(queue, DeadlinePassed("the request waited in the queue past its deadline"))
        queues = self._requests or self._background
        if self._requests and self._is_starved(device, batches, now):
            queues = self._background
        elif not queues or not self._may_start(queues, device, batches, now):
            return []
        is_held = queues is self._background and (self._requests or self._requests_come(batches, now))
        max_batch = 1 if is_held else self._max_batch
        batch: list[Item] = []
        skipped_queues: list[TileQueue] = []
        while queues and (not batch or len(batch) < most_tiles(batch[0].tile.shape, max_batch, device.max_pixels)):
            queue = queues.popleft()
            if batch and queue.waiting[0].tile.shape != batch[0].tile.shape:
                skipped_queues.append(queue)
                continue
            batch.append(queue.waiting.popleft())
            queue.start_time = now if queue.start_time is None else queue.start_time
            if queue.waiting:
                queues.append(queue)
        queues.extendleft(reversed(skipped_queues))
        return batch

    def pause_s(self, device: Device, batches: Sequence[Batch], now: float) -> float | None:
        """Seconds until a tile of the background may start on the idle device; None if waiting tiles wait for other reasons."""
        if self._requests or not self._background or batches:
            return None
        seconds = min(device.pause_end, self._request_time + BUSY_S) - now
        return seconds if seconds > 0 else None

    def note_request(self, now: float) -> None:
        """Takes account of a request whose tiles come later, once its image is decoded: the background leaves room for them."""
        self._request_time = now

    def note_call(self, device: Device, batch: Batch, start: float, end: float) -> None:
        """Takes account of a call of the device's runtime with this batch, which has ended."""
        for item in batch:
            item.queue.seconds += (end - start) / len(batch)
        if batch[0].queue.is_background:
            device.pause_end = end + (end - start) * (1 / BACKGROUND_SHARE - 1)
        else:
            self._request_time = end

    def _queues_of(self, queue: TileQueue) -> deque[TileQueue]:
        return self._background if queue.is_background else self._requests

    def _requests_come(self, batches: Sequence[Batch], now: float, seconds: float = BUSY_S) -> bool:
        """Whether requests come, or one has in the last seconds. batches: those that run on the device."""
        return now < self._request_time + seconds or not all(batch[0].queue.is_background for batch in batches)

    def _is_starved(self, device: Device, batches: Sequence[Batch], now: float) -> bool:
        """Whether the next tile is one of the background, though others wait."""
        if not self._background or len(batches) >= device.runtime.max_concurrency:
            return False
        return now >= max(device.pause_end, self._waiting_since) + STARVED_S

    def _may_start(self, queues: Collection[TileQueue], device: Device, batches: Sequence[Batch], now: float) -> bool:
        """Whether one more batch of these queues may start on the device. batches: those that run on it."""
        is_background = queues is self._background
        if is_background and self._requests_come(batches, now, QUIET_S):
            is_paused = now < device.pause_end and self._requests_come(batches, now)
            return not batches and not is_paused
        # a batch of the background delays requests, but is no reason to wait for more of their tiles
        same = [batch for batch in batches if batch[0].queue.is_background == is_background]
        waiting = sum(len(queue.waiting) for queue in queues)
        most = self._most_batches(queues, same, device, now)
        # a much smaller batch gains more by waiting for further tiles than by overlapping
        return len(batches) < most and 2 * waiting >= max(map(len, same), default=0)

    def _most_batches(self, queues: Collection[TileQueue], batches: Sequence[Batch], device: Device, now: float) -> int:
        """How many batches may run on the device while these tiles wait and run.

        On a CPU, tiles of long requests do not count while tiles of others come, and so run one at a time.
        """
        counts = [(queue, len(queue.waiting)) for queue in queues] + [(item.queue, 1) for batch in batches for item in batch]
        tiles = sum(count for _, count in counts)
        long = sum(count for queue, count in counts if queue.is_long)
        if 0 < long < tiles:
            self._mixed_time = now
        is_mixed = device.runtime.max_batch == 1 and now - self._mixed_time < BUSY_S
        return device.runtime.concurrency(tiles - long if is_mixed else tiles)
