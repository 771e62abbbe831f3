"""How large batches are by load, when a second one begins, and what is learned of the device's memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from model.inference.merging import Logits
from model.inference.runtime import DeviceOutOfMemory, Tile
from model.inference.scheduler import AHEAD
from model.inference.tile_queue import TileQueue
from tests.support.model.doubles import FAR, FirstChannel
from tests.support.model.running import Running, running
from tests.support.polling import HANG_S, wait_until


class InFlight(FirstChannel):
    """Two calls at the same time, each of which waits until the test releases its batch. most: calls at the same time."""

    def __init__(self, max_batch: int = 64) -> None:
        super().__init__(max_batch, concurrency=2)
        self.current: list[list[int]] = []
        self.most = 0
        self._released: list[list[int]] = []
        self._change = threading.Condition()

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        values = [int(tile[0, 0, 0]) for tile in tiles]
        with self._change:
            self.current.append(values)
            self.most = max(self.most, len(self.current))
            assert self._change.wait_for(lambda: values in self._released, HANG_S)
            self._released.remove(values)
            self.current.remove(values)
        return super().logits(tiles)

    def release(self, values: list[int]) -> None:
        """Lets the batch of these tiles end."""
        with self._change:
            self._released.append(values)
            self._change.notify_all()


def begun(it: Running, value: int, *runtimes: InFlight, queue: TileQueue | None = None) -> Future[list[int]]:
    """The future of one tile of this value, which is in a batch of its own on one of these."""
    future = it.threads.submit(it.run, [value], queue)
    wait_until(lambda: any([value] in runtime.current for runtime in runtimes))
    return future


class Memory(FirstChannel):
    """A device whose memory holds so many pixels of tiles in a call."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels
        self.refused: list[int] = []

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        if sum(tile.shape[0] * tile.shape[1] for tile in tiles) > self.pixels:
            self.refused.append(len(tiles))
            raise DeviceOutOfMemory("the device's memory is full")
        return super().logits(tiles)


@pytest.mark.parametrize("tiles", [1, 2, 7, 30, 60])
def test_a_batch_takes_all_tiles_that_wait(tiles: int) -> None:
    runtime = FirstChannel()
    with running(runtime, max_batch=None) as it:
        with it.busy(runtime):
            futures = [it.waiting([value + 2]) for value in range(tiles)]
        assert [each.result(HANG_S) for each in futures] == [[value + 2] for value in range(tiles)]
    assert [len(batch) for batch in runtime.batches] == [1, tiles]


def test_a_batch_has_no_more_pixels_than_fit_and_at_least_one_tile() -> None:
    runtime = FirstChannel(max_pixels=3 * 32 * 32)
    with running(runtime, max_batch=None) as it:
        with it.busy(runtime):
            small, large = it.waiting([2] * 5), it.waiting([9] * 2, side=64)
        assert small.result(HANG_S) == [2] * 5
        assert large.result(HANG_S) == [9] * 2
    assert sorted(map(tuple, runtime.batches)) == [(1,), (2, 2), (2, 2, 2), (9,), (9,)]


def test_a_second_batch_waits_until_it_has_half_the_tiles_of_the_one_that_runs() -> None:
    runtime = InFlight()
    with running(runtime, max_batch=None) as it:
        first, second = (begun(it, value, runtime) for value in (1, 2))
        four = [it.waiting([value]) for value in (3, 4, 5, 6)]
        runtime.release([1])
        runtime.release([2])
        wait_until(lambda: runtime.current == [[3, 4, 5, 6]])
        one = it.waiting([7])
        assert runtime.current == [[3, 4, 5, 6]]
        other = it.threads.submit(it.run, [8])
        wait_until(lambda: runtime.current == [[3, 4, 5, 6], [7, 8]])
        runtime.release([3, 4, 5, 6])
        runtime.release([7, 8])
        assert [each.result(HANG_S) for each in (first, second, *four, one, other)] == [[value] for value in range(1, 9)]
    assert runtime.most == 2


def test_a_request_s_batch_does_not_wait_for_the_size_of_one_of_the_background() -> None:
    runtime = InFlight()
    with running(runtime, max_batch=None) as it:
        queues = [TileQueue(FAR, is_background=True) for _ in range(3)]
        futures = [begun(it, value, runtime, queue=queues[value]) for value in (1, 2)]
        futures.append(it.waiting([3] * 8, queues[0]))
        runtime.release([1])
        wait_until(lambda: runtime.current == [[2], [3] * 8])
        runtime.release([2])
        futures.append(begun(it, 4, runtime))
        runtime.release([3] * 8)
        runtime.release([4])
        assert [each.result(HANG_S) for each in futures] == [[1], [2], [3] * 8, [4]]


def test_an_idle_device_takes_tiles_that_are_too_few_for_a_second_batch_on_another() -> None:
    one, other = InFlight(), InFlight()
    with running(one, other, max_batch=None) as it:
        futures = [begun(it, value, one, other) for value in (1, 2, 3, 4)]
        busy = it.waiting([5] * 8)
        for values in list(one.current) + list(other.current):
            (one if values in one.current else other).release(values)
        wait_until(lambda: [5] * 8 in one.current + other.current)
        single = begun(it, 6, one, other)
        assert sorted(map(len, (one.current, other.current))) == [1, 1]
        for runtime in (one, other):
            runtime.release(runtime.current[0])
        assert [each.result(HANG_S) for each in (*futures, busy, single)] == [[1], [2], [3], [4], [5] * 8, [6]]


@pytest.mark.parametrize(
    ("fits", "later", "refused", "batches"),
    [(5, (32, 16), [16, 8], [1, 4, 4, 4, 4, 1, 4, 4, 4, 4]), (8, (64, 4), [16], [1, 8, 8, 1, 2, 2])],
    ids=["of the same shape", "of larger tiles"],
)
def test_a_batch_that_does_not_fit_is_split_and_later_ones_are_no_larger(
    fits: int, later: tuple[int, int], refused: list[int], batches: list[int]
) -> None:
    runtime = Memory(fits * 32 * 32)
    with running(runtime, max_batch=None) as it:
        for side, tiles in ((32, 16), later):
            with it.busy(runtime):
                future = it.waiting([2] * tiles, side=side)
            assert future.result(HANG_S) == [2] * tiles
    assert runtime.refused == refused
    assert [len(batch) for batch in runtime.batches] == batches


def test_a_single_tile_that_does_not_fit_fails_alone_and_limits_no_others() -> None:
    runtime = Memory(8 * 32 * 32)
    with running(runtime, max_batch=None) as it:
        with pytest.raises(DeviceOutOfMemory):
            it.run([2], side=128)
        with it.busy(runtime):
            future = it.waiting([3] * 8)
        assert future.result(HANG_S) == [3] * 8
    assert [len(batch) for batch in runtime.batches] == [1, 8]


def test_busy_seconds_count_overlapping_batches_once() -> None:
    runtime = InFlight()
    with running(runtime, max_batch=None) as it:
        futures = {}
        for now, value in ((10, 1), (12, 2), (13, 1), (17, 2), (100, 3), (101, 3)):
            it.clock.now = now
            if value in futures:
                runtime.release([value])
                futures[value].result(HANG_S)
            else:
                futures[value] = begun(it, value, runtime)
    assert it.busy_seconds == [3, 4, 1]


def test_a_request_submits_two_batches_ahead_but_no_more_than_its_share_of_memory() -> None:
    for max_batch, ahead in ((1, 2), (4, 8), (64, AHEAD)):
        with running(FirstChannel(max_batch), max_batch=None) as it:
            assert it.scheduler.ahead == ahead
