"""Which tiles a request's own thread runs, where it has a place among the cores."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pools import Pools, Slot
from model.lanes import Slots
from tests.app.engines import FAR, FirstChannel, held, run_all, running, waiting
from tests.conftest import wait_for


def test_an_only_tile_is_run_by_its_thread_while_others_run() -> None:
    lane, spread, own, slots = FirstChannel(), FirstChannel(), FirstChannel(), Slots(2)
    with ThreadPoolExecutor() as pool, running(lane, placed=(spread, own)) as engine:
        with held(engine, lane, pool):
            with Slot(slots, FAR, large=False) as place:
                assert run_all(engine, [5], place=place) == [5]
            assert engine.queued_tiles == 1
        wait_for(lambda: engine.queued_tiles == 0)
    assert [len(each.batches) for each in (lane, spread, own)] == [1, 0, 1]


def test_what_has_no_place_or_several_tiles_is_handed_over() -> None:
    lane, own, slots = FirstChannel(), FirstChannel(), Slots(3)
    with (
        ThreadPoolExecutor() as pool,
        running(lane, placed=(own, own)) as engine,
        held(engine, lane, pool),
        Slot(slots, FAR, large=True) as large,
        Slot(slots, FAR, large=False) as place,
    ):
        others = [pool.submit(run_all, engine, *job) for job in (([2], 32, large), ([3, 4], 32, place), ([5], 32, None))]
        wait_for(lambda: waiting(engine) == 4)
        lane.may_run.set()
        assert [other.result(30) for other in others] == [[2], [3, 4], [5]]
    assert own.batches == []
    assert slots.held == slots.beside == 0


def test_of_several_tiles_none_is_run_by_their_thread() -> None:
    lane, own = FirstChannel(), FirstChannel()
    with (
        ThreadPoolExecutor() as pool,
        running(lane, placed=(own, own)) as engine,
        held(engine, lane, pool),
        Slot(Slots(1), FAR, large=False) as place,
    ):
        several = pool.submit(run_all, engine, [3, 4], place=place)
        wait_for(lambda: waiting(engine) == 2)
        lane.may_run.set()
        assert several.result(30) == [3, 4]
    assert own.batches == []


@pytest.mark.parametrize("spreads", [True, False])
def test_an_only_tile_is_run_by_its_thread_also_alone_and_spread_where_that_has_helpers(spreads: bool) -> None:
    lane, spread, own = FirstChannel(), FirstChannel(), FirstChannel()
    with (
        running(lane, placed=(spread, own)) as engine,
        Slot(Slots(1), FAR, large=False, spreads=spreads) as place,
    ):
        assert run_all(engine, [5], place=place) == [5]
    assert [len(each.batches) for each in (lane, spread, own)] == [0, spreads, not spreads]


def test_of_the_threads_for_images_of_one_tile_the_first_alone_spreads() -> None:
    pools = Pools(2)
    go = threading.Event()

    def spreads() -> bool:
        return pools.slot(1.0, FAR).spreads

    try:
        assert pools.lone.submit(spreads).result(30)
        busy = pools.lone.submit(go.wait, 30)
        assert not pools.lone.submit(spreads).result(30)
        assert not pools.small.submit(spreads).result(30)
        go.set()
        assert busy.result(30)
    finally:
        pools.shutdown()


def test_a_tile_waits_its_turn_where_others_wait_and_its_place_is_left_meanwhile() -> None:
    lane, own, slots = FirstChannel(), FirstChannel(), Slots(1)
    with ThreadPoolExecutor() as pool, running(lane, placed=(own, own)) as engine, held(engine, lane, pool):
        earlier = pool.submit(run_all, engine, [2, 3])
        wait_for(lambda: waiting(engine) == 2)
        with Slot(slots, FAR, large=False) as place:
            later = pool.submit(run_all, engine, [4], place=place)
            wait_for(lambda: waiting(engine) == 3 and slots.held == 0)
            lane.may_run.set()
            assert (earlier.result(30), later.result(30)) == ([2, 3], [4])
            assert slots.held == 1
    assert own.batches == []


def test_a_bad_tile_fails_its_own_request_alone() -> None:
    lane, own = FirstChannel(), FirstChannel()
    with ThreadPoolExecutor() as pool, running(lane, placed=(own, own)) as engine:
        with held(engine, lane, pool), Slot(Slots(1), FAR, large=False) as place:
            with pytest.raises(RuntimeError, match="cannot be run"):
                run_all(engine, [255], place=place)
            assert run_all(engine, [6], place=place) == [6]
        assert engine.alive
        wait_for(lambda: engine.queued_tiles == 0)


def test_images_of_one_tile_have_a_thread_a_core() -> None:
    pools = Pools(3)
    try:
        assert (len(pools.lone._threads), pools.slots._count) == (3, 4)
    finally:
        pools.shutdown()
