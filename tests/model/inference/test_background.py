"""When tiles of the background run, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import ceil

import pytest

from model.inference.errors import Cancelled, DeadlinePassed, InferenceError, SchedulerEnded
from model.inference.merging import Logits
from model.inference.runtime import Device, Tile
from model.inference.tile_queue import BACKGROUND_SHARE, BUSY_S, LONG_S, QUIET_S, STARVED_S, Item, TileQueue, TileTurns
from tests.support.model.doubles import FAR, Clock, FirstChannel, Streams, tile
from tests.support.model.running import Running, running
from tests.support.polling import HANG_S, wait_until


class Timed(FirstChannel):
    """Its calls take `call_s` seconds of the clock that a test gives it."""

    clock: Clock
    call_s = 1 / 64  # threads wait for the pause, but by the real clock

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        logits = super().logits(tiles)
        self.clock.now += self.call_s
        return logits


def background(deadline: float = FAR, seconds: float = 0.0) -> TileQueue:
    return TileQueue(deadline, is_background=True, seconds=seconds)


def pausing(it: Running, runtime: Timed, queue: TileQueue) -> None:
    """Runs a tile of the background, then one of a request."""
    runtime.clock = it.clock
    assert it.run([7], queue) == [7]
    assert it.run([1]) == [1]


def test_no_tile_of_the_background_is_taken_while_another_waits() -> None:
    runtime = FirstChannel(max_batch=1)
    with running(runtime) as it:
        with it.busy(runtime):
            late, requests = it.waiting([7] * 2, background()), [it.waiting([8] * 2), it.waiting([9])]
        assert (late.result(HANG_S), *(each.result(HANG_S) for each in requests)) == ([7] * 2, [8] * 2, [9])
    assert runtime.batches == [[1], [8], [9], [8], [7], [7]]


def test_a_background_that_others_never_leave_a_turn_has_one_at_times() -> None:
    runtime, turns = FirstChannel(max_batch=1), TileTurns(1)
    device, requests, late = Device(runtime, None), TileQueue(FAR), background()
    for queue, values in ((requests, range(4)), (late, (7, 8))):
        for value in values:
            turns.add(Item(tile(value), Future(), queue), (), 0.0)
    order: list[int] = []
    for now in (0.0, STARVED_S - 0.1, STARVED_S, STARVED_S + 0.1):
        (item,) = turns.take(device, [], now)
        order.append(int(item.tile[0, 0, 0]))
        turns.note_call(device, [item], now, now + 0.01)
    assert order == [0, 1, 7, 2]


def test_tiles_of_the_background_join_no_request_s_batch_and_run_alone_while_requests_come() -> None:
    runtime = FirstChannel()
    with running(runtime, max_batch=None) as it:
        with it.busy(runtime):
            late, request = it.waiting([7] * 3, background()), it.waiting([8] * 2)
        assert (late.result(HANG_S), request.result(HANG_S)) == ([7] * 3, [8] * 2)
        it.clock.now += BUSY_S
        with runtime.hold as hold:
            first = it.scheduler.submit(background(), tile(2))
            assert hold.entry.wait(HANG_S)
            late = it.waiting([3] * 4, background())
        assert first.result(HANG_S) is not None
        assert late.result(HANG_S) == [3] * 4
    assert runtime.batches == [[1], [8, 8], [7], [7], [7], [2], [3, 3, 3, 3]]


def test_while_requests_come_the_background_has_a_share_of_the_time() -> None:
    runtime, queue = Timed(max_batch=1), background()
    requests = ceil(1 / BACKGROUND_SHARE - 1)
    with running(runtime) as it:
        pausing(it, runtime, queue)
        late = it.waiting([6], queue)
        for _ in range(requests - 1):
            assert it.run([8]) == [8]
        assert late.result(HANG_S) == [6]
    assert runtime.batches == [[7], [1], *[[8]] * (requests - 1), [6]]


@pytest.mark.parametrize(("call_s", "pause_s"), [(1 / 64, 1 / 64 / BACKGROUND_SHARE), (BUSY_S, BUSY_S)])
def test_the_background_goes_on_after_its_pause_or_once_no_more_requests_come(call_s: float, pause_s: float) -> None:
    runtime, queue = Timed(max_batch=1), background()
    runtime.call_s = call_s
    with running(runtime) as it:
        pausing(it, runtime, queue)
        late = it.waiting([6], queue)
        it.clock.now += pause_s
        it.scheduler.submit(background(), tile(5))  # wakes the thread
        assert late.result(HANG_S) == [6]
    assert runtime.batches[:3] == [[7], [1], [6]]


def test_without_requests_the_background_makes_all_calls_at_once_and_one_while_they_come() -> None:
    runtime, new, long = Streams(max_batch=1, concurrency=2), background(), background(seconds=LONG_S)
    with running(runtime) as it:
        for most in (2, 1):
            with runtime.hold:
                futures = [it.scheduler.submit(queue, tile(7)) for queue in (new, long, long, long)]
                wait_until(lambda most=most: len(new.items) + len(long.items) == 4 - most)  # type: ignore[misc]
            for each in futures:
                each.result(HANG_S)
            assert runtime.most == most
            assert it.run([1]) == [1]
            runtime.most = 0


def test_for_minutes_after_a_request_the_background_has_one_call_at_a_time() -> None:
    turns, device, late = TileTurns(max_batch=1), Device(Streams(max_batch=1, concurrency=2), None), background()
    for _ in range(4):
        turns.add(Item(tile(7), Future(), late), [], 0)
    turns.note_request(0)
    for now, most in ((BUSY_S, 1), (QUIET_S, 2)):
        first = turns.take(device, [], now)
        assert len(first) == 1
        assert len(turns.take(device, [first], now)) == most - 1


def test_the_background_begins_no_tile_once_a_request_is_announced() -> None:
    runtime, queue = Timed(max_batch=1), background()
    with running(runtime) as it:
        runtime.clock = it.clock
        assert it.run([7], queue) == [7]
        it.scheduler.announce()
        late = it.waiting([6], queue)
        assert it.run([8]) == [8]
        assert not late.done()
        it.clock.now += BUSY_S
        assert it.run([5], background()) == [5]  # wakes the thread
        assert late.result(HANG_S) == [6]
    assert runtime.batches == [[7], [8], [6], [5]]


def test_a_request_waits_for_the_background_s_call_and_none_begins_beside_its_own() -> None:
    runtime = Streams(max_batch=1, concurrency=2)
    with running(runtime) as it:
        with runtime.hold as hold:
            late = it.threads.submit(it.run, [7], background())
            assert hold.entry.wait(HANG_S)
            request = it.waiting([8])
            other = it.waiting([6] * 2, background())
        assert (late.result(HANG_S), request.result(HANG_S), other.result(HANG_S)) == ([7], [8], [6] * 2)
    assert runtime.batches == [[7], [8], [6], [6]]
    assert runtime.most == 1


def test_nothing_of_the_background_begins_beside_a_request_s_call_however_long_it_takes() -> None:
    turns, device, late = TileTurns(max_batch=1), Device(Streams(max_batch=1, concurrency=2), None), background()
    turns.add(Item(tile(1), Future(), TileQueue(FAR)), [], 0)
    batch = turns.take(device, [], 0)
    for _ in range(2):
        turns.add(Item(tile(7), Future(), late), [], 0)
    assert turns.take(device, [batch], 2 * BUSY_S) == []
    turns.note_call(device, batch, 0, 2 * BUSY_S)
    assert len(turns.take(device, [], 2 * BUSY_S)) == 1


@pytest.mark.parametrize(
    ("end", "error", "match"),
    [
        (lambda it, queue: it.scheduler.cancel(queue), Cancelled, "cancelled"),
        (lambda it, queue: it.scheduler.fail("the device is broken"), SchedulerEnded, "broken"),
        (lambda it, queue: it.scheduler.stop(), SchedulerEnded, "stopped"),
        (lambda it, queue: setattr(it.clock, "now", 60), DeadlinePassed, "past its deadline"),
    ],
    ids=["cancel", "fail", "stop", "deadline"],
)
def test_what_ends_a_request_ends_the_background_in_its_pause(
    end: Callable[[Running, TileQueue], object], error: type[InferenceError], match: str
) -> None:
    runtime, queue = Timed(max_batch=1), background(deadline=60)
    with running(runtime) as it:
        pausing(it, runtime, queue)
        late = it.waiting([6], queue)
        end(it, queue)
        with pytest.raises(error, match=match):
            late.result(HANG_S)
    assert runtime.batches == [[7], [1]]
