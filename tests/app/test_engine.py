"""How the engine batches, shares and orders tiles, on small real networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.engine import Engine
from app.tickets import Tile
from tests.app.engines import FAR, FirstChannel, held, run_all, running, tile, waiting
from tests.conftest import wait_for


def test_logits_come_back_in_the_order_of_the_tiles() -> None:
    with running(FirstChannel()) as engine:
        assert run_all(engine, list(range(50))) == list(range(50))
        assert engine.queued_tiles == 0


def test_tiles_of_different_requests_share_a_batch() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network) as engine:
        with held(engine, network, pool):
            others = [pool.submit(run_all, engine, [value]) for value in (2, 3, 4)]
            wait_for(lambda: waiting(engine) == 3)
        assert sorted(other.result(30)[0] for other in others) == [2, 3, 4]
    assert [len(batch) for batch in network.batches] == [1, 3]


def test_a_batch_holds_one_shape_and_at_most_its_limit() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network, max_batch_tiles=2) as engine:
        with held(engine, network, pool):
            jobs = [pool.submit(run_all, engine, [value, value, value], side) for value, side in ((2, 32), (3, 64), (4, 32))]
            wait_for(lambda: waiting(engine) == 9)
        assert [job.result(30) for job in jobs] == [[2] * 3, [3] * 3, [4] * 3]
    for batch in network.batches:
        assert len(batch) <= 2
        assert len({t.shape for t in batch}) == 1


def test_a_shape_that_was_left_out_of_a_batch_comes_first_in_the_next() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network, max_batch_tiles=2) as engine:
        jobs = []
        with held(engine, network, pool):
            for values, side, tiles in (([2] * 4, 32, 4), ([3], 64, 5), ([4] * 4, 32, 9)):
                jobs.append(pool.submit(run_all, engine, values, side))
                wait_for(lambda tiles=tiles: waiting(engine) == tiles)
        assert [job.result(30) for job in jobs] == [[2] * 4, [3], [4] * 4]
    assert [[int(t[0, 0, 0]) for t in batch] for batch in network.batches[:4]] == [[1], [2, 4], [3], [2, 4]]


def test_a_small_request_does_not_wait_behind_a_huge_one() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network, max_batch_tiles=2) as engine:
        with held(engine, network, pool):
            huge = pool.submit(run_all, engine, [7] * 60)
            wait_for(lambda: waiting(engine) == 4)
            small = pool.submit(run_all, engine, [9])
            wait_for(lambda: waiting(engine) == 5)
        small.result(30)
        huge.result(30)
    small_batch = next(i for i, batch in enumerate(network.batches) if any(t[0, 0, 0] == 9 for t in batch))
    assert small_batch <= 2


def test_lanes_work_at_once_and_share_the_queue() -> None:
    one, other = FirstChannel(), FirstChannel()
    with ThreadPoolExecutor() as pool, running(one, other, max_batch_tiles=1) as engine:
        for network in (one, other):
            network.may_run.clear()
        jobs = [pool.submit(run_all, engine, [value]) for value in (1, 2, 3)]
        assert one.entered.wait(30)
        assert other.entered.wait(30)
        one.may_run.set()
        wait_for(lambda: len(one.batches) == 2)
        assert not other.batches
        other.may_run.set()
        assert [job.result(30) for job in jobs] == [[1], [2], [3]]


def test_while_a_lane_is_busy_a_batch_waits_for_tiles_that_were_admitted() -> None:
    busy, free = FirstChannel(), FirstChannel()
    with ThreadPoolExecutor() as pool, running(busy, free, batch_wait_s=30.0) as engine:
        for network in (busy, free):
            network.may_run.clear()
        first = pool.submit(run_all, engine, [9])
        wait_for(lambda: busy.entered.is_set() or free.entered.is_set())
        if free.entered.is_set():
            busy, free = free, busy
        free.may_run.set()
        tickets = [engine.admit(1, FAR) for _ in range(2)]
        early = pool.submit(list, engine.run(tickets[0], iter([tile(1)])))
        wait_for(lambda: waiting(engine) == 1)
        assert not free.batches
        assert [int(x[0, 0, 0]) for x in engine.run(tickets[1], iter([tile(2)]))] == [2]
        early.result(30)
        engine.release(tickets[0])
        engine.release(tickets[1])
        busy.may_run.set()
        assert first.result(30) == [9]
    assert [len(batch) for batch in free.batches] == [2]


def test_a_lone_tile_goes_to_the_first_lane_and_the_next_to_another() -> None:
    first, second = FirstChannel(), FirstChannel()
    with ThreadPoolExecutor() as pool, running(first, second) as engine:
        for value in range(5):
            wait_for(lambda: engine._idle == {0, 1})
            assert run_all(engine, [value]) == [value]
        assert (len(first.batches), len(second.batches)) == (5, 0)
        with held(engine, first, pool):
            assert run_all(engine, [7]) == [7]
        assert len(second.batches) == 1


def test_an_idle_device_waits_for_nothing() -> None:
    with ThreadPoolExecutor() as pool, running(FirstChannel(), batch_wait_s=1e6) as engine:
        late = engine.admit(1, FAR)
        assert pool.submit(run_all, engine, [1]).result(30) == [1]
        engine.release(late)


def numbered(number: int) -> Tile:
    """A tile of two pixels that hold the number, low byte first."""
    return np.array([[[number % 256, 0, 0], [number // 256, 0, 0]]], np.uint8)


def test_results_never_cross_among_64_clients_of_500_requests() -> None:
    def wrong_answers(engine: Engine, first: int) -> list[int]:
        wrong = []
        for number in range(first, first + 500):
            asked = [number, number + 32_000][: 1 + number % 2]
            ticket = engine.admit(len(asked), FAR)
            found = [int(logits[0, 0, 0] + 256 * logits[0, 0, 1]) for logits in engine.run(ticket, map(numbered, asked))]
            engine.release(ticket)
            if found != asked:
                wrong.append(number)
        return wrong

    with ThreadPoolExecutor(64) as pool, running(FirstChannel(), FirstChannel(), max_queued_tiles=128) as engine:
        wrong = [pool.submit(wrong_answers, engine, client * 500) for client in range(64)]
        assert [job.result(240) for job in wrong] == [[]] * 64
        assert engine.queued_tiles == 0
