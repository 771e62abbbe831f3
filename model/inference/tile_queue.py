"""The waiting tiles of each request, and the choice of the next batch: a tile of each request in turn, then the background."""

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

LONG_S = 1.0  # seconds of the network after which a request is long; a photo needs fewer, also on slow processors
BUSY_S = 5.0  # seconds after a request in which the next one is expected
QUIET_S = 120.0  # seconds without a request after which the background may use all streams
STARVED_S = 2.0  # longest wait of the background after its pause, while tiles of requests wait
BACKGROUND_SHARE = 0.1  # of a device's time, for the background while requests come


class Item(NamedTuple):
    """A tile, the future that receives its logits, and the queue of its request."""

    tile: Tile
    future: Future[Logits]
    queue: TileQueue

    def resolve(self, result: Logits | Exception) -> None:
        """Gives the future this result, unless `Scheduler.fail` or a cancellation was first. The scheduler's lock is held."""
        with suppress(InvalidStateError):
            if isinstance(result, Exception):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)


@dataclass(eq=False)
class TileQueue:
    """The waiting tiles of one request, or of one work in the background. The scheduler's lock guards it.

    deadline, submit_time, start_time: times of the scheduler's clock: the deadline, the arrival of the first tile, and the
    start of its batch. is_background: whether the tiles run only while those of requests leave time.
    seconds: for which the network has run the tiles; the tiles of a batch have equal shares of its time.
    """

    deadline: float
    is_background: bool = False
    items: deque[Item] = field(default_factory=deque)
    is_cancelled: bool = False
    submit_time: float | None = None
    start_time: float | None = None
    seconds: float = 0.0

    @property
    def is_long(self) -> bool:
        """Whether this is a request whose tiles have run for `LONG_S` seconds, so that other requests come first."""
        return not self.is_background and self.seconds >= LONG_S

    @property
    def wait_seconds(self) -> float:
        """Seconds from the arrival of the first tile to the start of its batch; 0 before that."""
        return 0.0 if self.submit_time is None or self.start_time is None else self.start_time - self.submit_time

    def fail(self, error: Exception) -> None:
        """Gives the error to the futures of all waiting tiles. The scheduler's lock is held."""
        for item in self.items:
            item.resolve(error)
        self.items.clear()


Batch = Sequence[Item]


class TileTurns:
    """The waiting tiles of all queues, in the order of their turns. The scheduler's lock guards it.

    Requests:

    - A batch has tiles of one shape: one of each queue in turn, as many as `max_batch` and the device's memory allow.
    - On an idle device, a batch starts at once. On a device that runs batches, another batch starts if two conditions hold:
      fewer batches run than `runtime.concurrency` allows for all tiles that wait or run, and at least half as many tiles wait
      as the largest running batch has.
    - On a CPU, tiles of long requests run one at a time, on all cores, if tiles of other requests waited or ran beside them in
      the last `BUSY_S` seconds. So a tile of another request waits for one tile.

    The background, whose tiles run only when no tile of a request waits:

    - The last request is the time when a request was announced, or when a tile of a request ended on any device. Requests
      *come* while a tile of a request runs on the device, and for `BUSY_S` after the last request. Meanwhile the background
      runs one tile at a time, on an idle device, and pauses after each, so that it uses `BACKGROUND_SHARE` of the time.
    - Then, until `QUIET_S` after the last request, the background runs one batch at a time, so that a rare request waits for
      one batch.
    - If tiles of requests wait all the time, the background runs a tile `STARVED_S` after the end of its pause.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        # each queue with waiting tiles is in one of these, once
        self._requests: deque[TileQueue] = deque()
        self._background: deque[TileQueue] = deque()
        self._mixed_time = -inf  # when tiles of long requests last waited or ran beside tiles of others
        self._waiting_since = -inf  # since when tiles of the background wait
        self._request_time = -inf  # the last request: when one was announced, or when a tile of one ended

    def __bool__(self) -> bool:
        """Whether tiles wait."""
        return bool(self._requests or self._background)

    def add(self, item: Item, active: Collection[TileQueue], now: float) -> None:
        """Adds a tile. active: the queues with running tiles.

        Queues with running tiles have their turn now. A queue without waiting and running tiles goes before them.
        """
        queue = item.queue
        queue.submit_time = now if queue.submit_time is None else queue.submit_time
        queue.items.append(item)
        if len(queue.items) > 1:
            return
        queues = self._queues_of(queue)
        if queue.is_background and not queues:
            self._waiting_since = now
        place = len(queues)
        if queue not in active:
            place = next((i for i, other in enumerate(queues) if other in active), place)
        queues.insert(place, queue)

    def drop(self, queue: TileQueue, error: InferenceError) -> None:
        """Gives the error to all waiting tiles of the queue."""
        if queue.items:
            self._queues_of(queue).remove(queue)
            queue.fail(error)

    def drop_all(self, error: InferenceError) -> None:
        """Gives the error to all waiting tiles."""
        for queue in [*self._requests, *self._background]:
            self.drop(queue, error)

    def take(self, device: Device, batches: Sequence[Batch], now: float) -> list[Item]:
        """Takes the next batch for the device; an empty list if none may start now. batches: those that run on the device.

        A queue whose next tile has another shape than the batch is first in the next batch.
        """
        for queue in [queue for queue in [*self._requests, *self._background] if queue.deadline <= now]:
            self.drop(queue, DeadlinePassed("the request waited in the queue past its deadline"))
        queues = self._requests or self._background
        if self._requests and self._is_starved(device, batches, now):
            queues = self._background
        elif not queues or not self._may_start(queues, device, batches, now):
            return []
        one_tile = queues is self._background and (self._requests or self._requests_come(batches, now))
        max_batch = 1 if one_tile else self._max_batch
        batch: list[Item] = []
        skipped_queues: list[TileQueue] = []
        while queues and (not batch or len(batch) < most_tiles(batch[0].tile.shape, max_batch, device.max_pixels)):
            queue = queues.popleft()
            if batch and queue.items[0].tile.shape != batch[0].tile.shape:
                skipped_queues.append(queue)
                continue
            batch.append(queue.items.popleft())
            queue.start_time = now if queue.start_time is None else queue.start_time
            if queue.items:
                queues.append(queue)
        queues.extendleft(reversed(skipped_queues))
        return batch

    def pause_s(self, device: Device, batches: Sequence[Batch], now: float) -> float | None:
        """Seconds until the pause of the background ends on the idle device; None if no tile waits for the end of a pause."""
        if self._requests or not self._background or batches:
            return None
        seconds = min(device.pause_end, self._request_time + BUSY_S) - now
        return seconds if seconds > 0 else None

    def note_request(self, now: float) -> None:
        """Notes a request whose tiles come once its image is decoded. From now on the background leaves time for them."""
        self._request_time = now

    def note_call(self, device: Device, batch: Batch, start: float, end: float) -> None:
        """Notes that a call of the device's runtime with this batch has ended. start, end: of the scheduler's clock."""
        for item in batch:
            item.queue.seconds += (end - start) / len(batch)
        if batch[0].queue.is_background:
            device.pause_end = end + (end - start) * (1 / BACKGROUND_SHARE - 1)
        else:
            self._request_time = end

    def _queues_of(self, queue: TileQueue) -> deque[TileQueue]:
        return self._background if queue.is_background else self._requests

    def _requests_come(self, batches: Sequence[Batch], now: float, seconds: float = BUSY_S) -> bool:
        """Whether the last request was less than `seconds` ago, or a batch is of requests. batches: those of the device."""
        return now < self._request_time + seconds or not all(batch[0].queue.is_background for batch in batches)

    def _is_starved(self, device: Device, batches: Sequence[Batch], now: float) -> bool:
        """Whether the background has waited for so long that its tile is next, though tiles of requests wait."""
        if not self._background or len(batches) >= device.runtime.max_concurrency:
            return False
        return now >= max(device.pause_end, self._waiting_since) + STARVED_S

    def _may_start(self, queues: Collection[TileQueue], device: Device, batches: Sequence[Batch], now: float) -> bool:
        """Whether one more batch of these queues may start on the device. batches: those that run on it."""
        is_background = queues is self._background
        if is_background and self._requests_come(batches, now, QUIET_S):
            is_paused = now < device.pause_end and self._requests_come(batches, now)
            return not batches and not is_paused
        # beside a batch of the background, a batch of requests need not wait for more tiles
        of_same_kind = [batch for batch in batches if batch[0].queue.is_background == is_background]
        tile_count = sum(len(queue.items) for queue in queues)
        most = self._most_batches(queues, of_same_kind, device, now)
        # a batch much smaller than a running one gains more if it waits for further tiles than if both run at the same time
        return len(batches) < most and 2 * tile_count >= max(map(len, of_same_kind), default=0)

    def _most_batches(self, queues: Collection[TileQueue], batches: Sequence[Batch], device: Device, now: float) -> int:
        """How many batches may run on the device at once. queues: with waiting tiles. batches: running ones of the same kind.

        On a CPU, tiles of long requests do not count while tiles of others come. So tiles of long requests run one at a time.
        """
        counts = [(queue, len(queue.items)) for queue in queues] + [(item.queue, 1) for batch in batches for item in batch]
        tiles = sum(count for _, count in counts)
        long = sum(count for queue, count in counts if queue.is_long)
        if 0 < long < tiles:
            self._mixed_time = now
        is_mixed = device.runtime.max_batch == 1 and now - self._mixed_time < BUSY_S
        return device.runtime.concurrency(tiles - long if is_mixed else tiles)
