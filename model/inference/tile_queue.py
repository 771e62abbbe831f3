"""The waiting tiles of requests and of the background, and the choice of the next batch. Requests go before the background."""

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
BUSY_S = 5.0  # seconds after a request; the next one is expected within them
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
    seconds: the time of the network that the tiles have used; the tiles of a batch have equal shares of its time.
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


Batch = Sequence[Item]


class TileTurns:
    """The waiting tiles of all queues, in the order of their turns. The scheduler's lock guards it.

    Requests:

    - A batch has tiles of one shape: one of each queue in turn, as many as `max_batch` and the device's memory allow.
    - On an idle device, a batch starts at once. A device that runs batches starts another one under two conditions. First, it
      runs fewer batches than `runtime.concurrency` gives for the number of tiles that wait or run. Second, the waiting tiles
      are at least half as many as the tiles of the largest running batch.
    - On a CPU, tiles of long requests run one at a time, each on all cores, if tiles of other requests waited or ran beside
      them in the last `BUSY_S` seconds. So a tile of another request waits for one tile of a long request.

    The background, whose tiles run only when no tile of a request waits:

    - The last request is a time: the latest announcement of a request, or the latest end of a request's tile on any device.
    - Requests *come* while a tile of a request runs on the device, and for `BUSY_S` after the last request. While they come,
      the background runs one tile at a time, on an idle device. It pauses after each tile, so that it uses `BACKGROUND_SHARE`
      of the time.
    - After that, until `QUIET_S` after the last request, the background runs one batch at a time. So a rare request waits for
      one batch.
    - `STARVED_S` after the end of its pause, the background runs a tile even if tiles of requests wait.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        # each queue with waiting tiles is in one of these, once
        self._requests: deque[TileQueue] = deque()
        self._background: deque[TileQueue] = deque()
        self._mixed_time = -inf  # when tiles of long requests last waited or ran beside tiles of others
        self._waiting_since = -inf  # since when tiles of the background wait
        self._request_time = -inf  # the last request

    def __bool__(self) -> bool:
        """Whether tiles wait."""
        return bool(self._requests or self._background)

    def add(self, item: Item, active: Collection[TileQueue], now: float) -> None:
        """Adds a tile. active: the queues with running tiles.

        A queue that had no waiting tile gets a place in the order. A queue with running tiles goes to the end, since it has its
        turn now. A queue without running tiles goes before all queues with running tiles.
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
        while queue.items:
            queue.items.popleft().resolve(error)

    def drop_all(self, error: InferenceError) -> None:
        """Gives the error to all waiting tiles."""
        for queue in [*self._requests, *self._background]:
            self.drop(queue, error)

    def take(self, device: Device, batches: Sequence[Batch], now: float) -> list[Item]:
        """Takes the next batch for the device; an empty list if none may start now. batches: those that run on the device.

        The batch skips a queue whose next tile has another shape. That queue is first in the next batch.
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
        # there is no pause once no more requests come
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
            # the call has `BACKGROUND_SHARE` of the time from its start to the end of the pause
            device.pause_end = end + (end - start) * (1 / BACKGROUND_SHARE - 1)
        else:
            self._request_time = end

    def _queues_of(self, queue: TileQueue) -> deque[TileQueue]:
        return self._background if queue.is_background else self._requests

    def _requests_come(self, batches: Sequence[Batch], now: float, seconds: float = BUSY_S) -> bool:
        """Whether the last request was less than `seconds` ago, or the device runs a batch of requests. batches: its own."""
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
        same_kind = [batch for batch in batches if batch[0].queue.is_background == is_background]
        tile_count = sum(len(queue.items) for queue in queues)
        most_batches = self._most_batches(queues, same_kind, device, now)
        # beside a far larger batch, a small one gains little; it gains more if it waits for further tiles
        return len(batches) < most_batches and 2 * tile_count >= max(map(len, same_kind), default=0)

    def _most_batches(self, queues: Collection[TileQueue], batches: Sequence[Batch], device: Device, now: float) -> int:
        """How many batches may run on the device at once. queues: with waiting tiles. batches: running ones of the same kind.

        On a CPU, tiles of long requests do not count for `BUSY_S` after they waited or ran beside tiles of other requests. So
        tiles of long requests run one at a time.
        """
        counts = [(queue, len(queue.items)) for queue in queues] + [(item.queue, 1) for batch in batches for item in batch]
        all_tiles = sum(count for _, count in counts)
        long_tiles = sum(count for queue, count in counts if queue.is_long)
        if 0 < long_tiles < all_tiles:
            self._mixed_time = now
        is_mixed = device.runtime.max_batch == 1 and now - self._mixed_time < BUSY_S  # a batch of one tile: a CPU
        return device.runtime.concurrency(all_tiles - long_tiles if is_mixed else all_tiles)
