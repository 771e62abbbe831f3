"""How tiles are batched, shared and ordered, and what becomes of them when a tile, a batch or the device fails."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import Future, wait

import numpy as np
import pytest

from model.inference.errors import Cancelled, DeadlinePassed, SchedulerEnded
from model.inference.merging import Logits
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, Tile
from model.inference.tile_queue import BUSY_S, LONG_S, TileQueue
from tests.support.model.doubles import FAR, FirstChannel, Streams, tile
from tests.support.model.running import running
from tests.support.polling import HANG_S, wait_until


@pytest.mark.parametrize("max_batch", [64, 1, 2])
def test_a_batch_is_as_large_as_the_setting_and_the_runtime_allow(max_batch: int) -> None:
    runtime = FirstChannel(max_batch)
    with running(runtime) as it:
        with it.busy(runtime):
            future = it.waiting([2, 3])
            other = it.waiting([4] * 6)
        assert (future.result(HANG_S), other.result(HANG_S)) == ([2, 3], [4] * 6)
    assert max(map(len, runtime.batches)) == min(max_batch, 4)


def test_a_batch_holds_one_shape_and_what_was_left_out_comes_first_in_the_next() -> None:
    runtime = FirstChannel()
    with running(runtime, max_batch=2) as it:
        with it.busy(runtime):
            futures = [it.waiting([2] * 4), it.waiting([3], side=64), it.waiting([4] * 4)]
        assert [each.result(HANG_S) for each in futures] == [[2] * 4, [3], [4] * 4]
    assert runtime.batches[:4] == [[1], [2, 4], [3], [2, 4]]


def test_a_request_that_comes_while_another_one_s_tile_runs_is_next() -> None:
    runtime = FirstChannel(max_batch=1)
    with running(runtime, max_batch=1) as it:
        runtime.hold.close()
        huge = it.threads.submit(it.run, [7] * 60)
        assert runtime.hold.entry.wait(HANG_S)
        small, other = it.waiting([8]), it.waiting([9])
        runtime.hold.open()
        assert (huge.result(HANG_S), small.result(HANG_S), other.result(HANG_S)) == ([7] * 60, [8], [9])
    assert runtime.batches[:4] == [[7], [8], [9], [7]]


def test_while_photos_come_a_large_image_s_tiles_run_one_at_a_time() -> None:
    runtime, large = Streams(max_batch=1, concurrency=2), TileQueue(FAR, seconds=LONG_S)
    with running(runtime, max_batch=1) as it:

        def submit(values: list[int], queue: TileQueue) -> list[Future[Logits]]:
            return [it.scheduler.submit(queue, tile(value)) for value in values]

        with runtime.hold:
            futures = submit([7] * 4, large)
            wait_until(lambda: len(large.items) == 2)  # it is alone
            futures += submit([9], TileQueue(FAR))
        wait([*futures], HANG_S)
        for pause_s, most in ((0.0, 1), (BUSY_S - 1, 1), (1.0, 2)):
            it.clock.now += pause_s
            runtime.most = 0
            with runtime.hold:
                futures = submit([7] * 4, large)
                wait_until(lambda most=most: len(large.items) == 4 - most)  # type: ignore[misc]
            wait(futures, HANG_S)
            assert runtime.most == most


def test_runtimes_work_at_once_and_share_the_queue() -> None:
    one, other = FirstChannel(), FirstChannel()
    with running(one, other, max_batch=1) as it:
        for runtime in (one, other):
            runtime.hold.close()
        futures = [it.threads.submit(it.run, [value]) for value in (1, 2, 3)]
        assert one.hold.entry.wait(HANG_S)
        assert other.hold.entry.wait(HANG_S)
        one.hold.open()
        wait_until(lambda: len(one.batches) == 2)
        assert not other.batches
        other.hold.open()
        assert [each.result(HANG_S) for each in futures] == [[1], [2], [3]]


def test_no_more_calls_are_made_at_once_than_pay_for_the_tiles_there_are() -> None:
    runtime = Streams(concurrency=2)
    runtime.least = 3
    with running(runtime, max_batch=1) as it:
        with it.busy(runtime):
            two = it.waiting([2])
        assert two.result(HANG_S) == [2]
        assert runtime.most == 1
        with it.busy(runtime):
            crowd = it.threads.submit(it.run, [2, 3, 4, 5])
            wait_until(lambda: runtime.most == 2)
        assert crowd.result(HANG_S) == [2, 3, 4, 5]


def test_logits_never_come_to_another_request_among_64_threads() -> None:
    runtimes = FirstChannel(), FirstChannel(concurrency=2)
    with running(*runtimes) as it:
        futures = {number: it.threads.submit(it.run, [number % 256] * (1 + number % 2)) for number in range(3000)}
        wrong = [number for number, each in futures.items() if each.result(HANG_S) != [number % 256] * (1 + number % 2)]
    assert wrong == []
    assert sum(it.batch_sizes) == 4500


def test_queue_seconds_are_from_the_first_tile_s_arrival_to_its_batch() -> None:
    runtime, queue = FirstChannel(), TileQueue(FAR)
    with running(runtime) as it:
        assert queue.wait_seconds == 0
        with it.busy(runtime):
            future = it.waiting([2], queue)
            it.clock.now += 3
            assert queue.wait_seconds == 0
        future.result(HANG_S)
        assert queue.wait_seconds == 3


def test_a_cancelled_request_s_tiles_leave_the_queue_and_its_thread_is_told() -> None:
    runtime, queue = FirstChannel(), TileQueue(FAR)
    with running(runtime) as it:
        with it.busy(runtime):
            late, other = it.waiting([2] * 3, queue), it.waiting([3])
            it.scheduler.cancel(queue)
            assert not queue.items
            for ask in (lambda: late.result(HANG_S), lambda: it.run([4], queue)):
                with pytest.raises(Cancelled):
                    ask()
        assert other.result(HANG_S) == [3]
    assert runtime.batches == [[1], [3]]


def test_tiles_that_wait_past_their_deadline_are_not_run() -> None:
    runtime, queue = FirstChannel(), TileQueue(deadline=60)
    with running(runtime) as it:
        with it.busy(runtime):
            late, other = it.waiting([2] * 3, queue), it.waiting([3])
            it.clock.now = 60
        with pytest.raises(DeadlinePassed, match="past its deadline"):
            late.result(HANG_S)
        assert other.result(HANG_S) == [3]
    assert runtime.batches == [[1], [3]]


def test_a_future_that_its_caller_has_cancelled_is_passed_over() -> None:
    runtime, queue = FirstChannel(), TileQueue(FAR)
    with running(runtime) as it:
        with it.busy(runtime):
            given_up = it.scheduler.submit(queue, tile(2))
            other = it.waiting([3])
            assert given_up.cancel()
        assert other.result(HANG_S) == [3]
        assert it.scheduler.alive


@pytest.mark.parametrize(
    ("value", "error", "message", "batches"),
    [
        (5, RuntimeError, "this tile cannot be run", [[2, 5], [2], [5]]),
        (7, ValueError, "shorter", [[2, 7], [2], [7]]),
        (9, FloatingPointError, "NaN or infinite", [[2, 9]]),
    ],
    ids=["an error", "too few logits", "logits that are not finite"],
)
def test_a_bad_tile_fails_its_request_alone(value: int, error: type[Exception], message: str, batches: list[list[int]]) -> None:
    class Faulty(FirstChannel):
        def logits(self, tiles: Sequence[Tile]) -> Logits:
            outputs = super().logits(tiles)
            if tiles[-1][0, 0, 0] == 9:
                outputs[-1, 0, -1, -1] = np.inf
            return outputs[:-1] if tiles[-1][0, 0, 0] == 7 else outputs

    runtime = Faulty()
    runtime.errors[5] = RuntimeError("this tile cannot be run")
    with running(runtime) as it:
        with it.busy(runtime):
            good, bad = it.waiting([2]), it.waiting([value])
        assert good.result(HANG_S) == [2]
        with pytest.raises(error, match=message):
            bad.result(HANG_S)
        assert it.scheduler.alive
        assert it.run([6]) == [6]
    assert runtime.batches == [[1], *batches, [6]]


def test_what_a_failed_batch_held_is_free_when_its_tiles_are_run_one_by_one() -> None:
    class Greedy(FirstChannel):
        def logits(self, tiles: Sequence[Tile]) -> Logits:
            if len(tiles) > 1:
                activations = np.zeros(8)
                references.append(weakref.ref(activations))
                raise DeviceOutOfMemory("no memory beside that")
            has_tile.extend(each() is not None for each in references)
            return super().logits(tiles)

    references: list[weakref.ref[object]] = []
    has_tile: list[bool] = []
    runtime = Greedy()
    with running(runtime) as it:
        with it.busy(runtime):
            futures = [it.waiting([value]) for value in (2, 3)]
        assert [each.result(HANG_S) for each in futures] == [[2], [3]]
    assert has_tile == [False, False]


def test_a_lost_device_ends_the_scheduler_and_answers_those_that_wait() -> None:
    runtime = FirstChannel()
    runtime.errors[2] = DeviceLost("the device is broken")
    with running(runtime, max_batch=1) as it:
        with it.busy(runtime):
            futures = [it.waiting([2, 8]), it.waiting([3] * 2)]
        for each in futures:
            with pytest.raises(SchedulerEnded, match="the device is broken"):
                each.result(HANG_S)
        with pytest.raises(SchedulerEnded, match="the device is broken"):
            it.run([4])
        assert not it.scheduler.alive
        wait_until(lambda: it.failures == ["the device is broken"])  # told after those that wait
        assert it.scheduler.failure == "the device is broken"
    assert runtime.batches == [[1], [2]]


def test_stopping_ends_after_the_batch_and_answers_those_that_wait() -> None:
    runtime = FirstChannel()

    def refuses() -> bool:
        """Whether tiles are refused now; one that is not waits with the others."""
        answer = it.scheduler.submit(TileQueue(FAR), tile(4))
        return answer.done() and isinstance(answer.exception(), SchedulerEnded)

    with running(runtime, max_batch=1) as it:
        with it.busy(runtime):
            future = it.waiting([2, 3])
            stop = it.threads.submit(it.scheduler.stop)
            wait_until(refuses)
        stop.result(HANG_S)
        with pytest.raises(SchedulerEnded, match="stopped"):
            future.result(HANG_S)
        assert not it.scheduler.alive
        with pytest.raises(SchedulerEnded, match="stopped"):
            it.run([5])
    assert runtime.batches == [[1]]
