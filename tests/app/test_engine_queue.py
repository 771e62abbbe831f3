"""The engine's bounded queue: what it refuses, and how tiles leave it that nobody waits for; on a clock of the test's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine_errors import Cancelled, DeadlinePassed, QueueFull, TooManyTiles
from tests.app.engines import FAR, FirstChannel, held, run_all, running, tile, waiting
from tests.conftest import wait_for


def test_more_tiles_than_the_queue_could_ever_take_are_refused() -> None:
    with running(FirstChannel(), max_queued_tiles=10) as engine, pytest.raises(TooManyTiles, match="11 tiles and at most 10"):
        engine.admit(11, FAR)


def test_a_full_queue_refuses_with_a_time_and_takes_again_after_a_release() -> None:
    with running(FirstChannel(), max_queued_tiles=10) as engine:
        ticket = engine.admit(8, FAR)
        with pytest.raises(QueueFull, match="8 tiles are queued and at most 10") as refused:
            engine.admit(3, FAR)
        assert refused.value.retry_after >= 1
        engine.release(ticket)
        assert engine.admit(3, FAR).tiles == 3


def test_each_tile_leaves_room_with_its_logits_and_the_last_one_with_its_request() -> None:
    with running(FirstChannel(), max_queued_tiles=10) as engine:
        ticket = engine.admit(10, FAR)
        logits = engine.run(ticket, (tile(value) for value in range(10)))
        for left in (9, 8, 7):
            next(logits)
            assert engine.queued_tiles == left
        assert engine.admit(3, FAR).tiles == 3
        assert len(list(logits)) == 7
        assert engine.queued_tiles == 1 + 3
        engine.release(ticket)
        engine.release(ticket)
        assert engine.queued_tiles == 3


def test_a_cancelled_request_leaves_the_queue_and_never_costs_a_batch() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network) as engine:
        ticket = engine.admit(2, FAR)
        with held(engine, network, pool):
            job = pool.submit(list, engine.run(ticket, iter([tile(8), tile(8)])))
            wait_for(lambda: waiting(engine) == 2)
            engine.cancel(ticket)
            with pytest.raises(Cancelled):
                job.result(30)
            assert waiting(engine) == 0
        assert run_all(engine, [3]) == [3]
    assert all(t[0, 0, 0] != 8 for batch in network.batches for t in batch)


def test_a_request_past_its_deadline_gets_no_batch() -> None:
    network, now = FirstChannel(), [0.0]
    with ThreadPoolExecutor() as pool, running(network, clock=lambda: now[0]) as engine:
        ticket = engine.admit(1, deadline=100.0)
        with held(engine, network, pool):
            job = pool.submit(list, engine.run(ticket, iter([tile(8)])))
            wait_for(lambda: waiting(engine) == 1)
            now[0] = 101.0
        with pytest.raises(DeadlinePassed):
            job.result(30)
    assert all(t[0, 0, 0] != 8 for batch in network.batches for t in batch)


def test_a_waiter_gives_up_at_its_deadline_though_the_batch_still_runs() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network) as engine, held(engine, network, pool):
        ticket = engine.admit(1, engine.clock() + 0.01)
        with pytest.raises(DeadlinePassed):
            next(engine.run(ticket, iter([tile(2)])))
        engine.release(ticket)


def test_a_check_ends_work_that_nobody_waits_for() -> None:
    now = [0.0]
    with running(FirstChannel(), clock=lambda: now[0]) as engine:
        ticket = engine.admit(1, deadline=5.0)
        engine.check(ticket)
        now[0] = 5.0
        with pytest.raises(DeadlinePassed):
            engine.check(ticket)
        other = engine.admit(1, deadline=10.0)
        engine.cancel(other)
        with pytest.raises(Cancelled):
            engine.check(other)
