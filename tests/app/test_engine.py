"""The tile engine, on small real networks and a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.engine import Engine
from app.engine_errors import Cancelled, DeadlinePassed, EngineStopped, OutOfMemory, QueueFull, TooManyTiles
from app.tickets import Tile
from tests.conftest import wait_for

FAR = 1e6


class FirstChannel:
    """A network of one class whose logits are the tile's first channel; records batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[Tile]] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.entered = threading.Event()

    def logits(self, tiles: list[Tile]) -> Tensor:
        self.entered.set()
        assert self.may_run.wait(30)
        self.batches.append(tiles)
        if any(tile[0, 0, 1] == 255 for tile in tiles):
            raise RuntimeError("this tile cannot be run")
        return torch.stack([torch.from_numpy(tile[:, :, 0].astype(np.float32))[None] for tile in tiles])


def tile(value: int, side: int = 32) -> Tile:
    return np.full((side, side, 3), value, np.uint8)


@contextmanager
def running(*lanes: FirstChannel, **changes: Any) -> Iterator[Engine]:
    engine = Engine(lanes, **({"max_batch_tiles": 4, "batch_wait_s": 0.0, "max_queued_tiles": 100} | changes))
    engine.start()
    try:
        yield engine
    finally:
        for network in lanes:
            network.may_run.set()
        engine.stop()


def run_all(engine: Engine, values: list[int], side: int = 32) -> list[int]:
    ticket = engine.admit(len(values), FAR)
    try:
        return [int(logits[0, 0, 0]) for logits in engine.run(ticket, (tile(v, side) for v in values))]
    finally:
        engine.release(ticket)


@contextmanager
def held(engine: Engine, network: FirstChannel, pool: ThreadPoolExecutor) -> Iterator[None]:
    """The engine busy with a tile of value 1, so that what comes meanwhile queues."""
    network.may_run.clear()
    network.entered.clear()
    first = pool.submit(run_all, engine, [1])
    assert network.entered.wait(30)
    yield
    network.may_run.set()
    first.result(30)


def waiting(engine: Engine) -> int:
    return engine._turns.waiting


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


def bad() -> Tile:
    """A tile that the network fails on."""
    found = tile(5)
    found[:, :, 1] = 255
    return found


def test_a_failing_batch_answers_every_waiter_and_the_engine_goes_on() -> None:
    with running(FirstChannel()) as engine:
        ticket = engine.admit(1, FAR)
        with pytest.raises(RuntimeError, match="this tile cannot be run"):
            next(engine.run(ticket, iter([bad()])))
        engine.release(ticket)
        assert engine.alive
        assert run_all(engine, [6]) == [6]


def test_a_bad_tile_does_not_fail_its_neighbours() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool, running(network) as engine:
        with held(engine, network, pool):
            good = pool.submit(run_all, engine, [2])
            ticket = engine.admit(1, FAR)
            failing = pool.submit(list, engine.run(ticket, iter([bad()])))
            wait_for(lambda: waiting(engine) == 2)
        assert good.result(30) == [2]
        with pytest.raises(RuntimeError, match="this tile cannot be run"):
            failing.result(30)
    assert [len(batch) for batch in network.batches] == [1, 2, 1, 1]


def test_a_device_that_is_out_of_memory_is_told_as_that_and_goes_on() -> None:
    class Full(FirstChannel):
        def logits(self, tiles: list[Tile]) -> Tensor:
            if len(tiles) > 1 or tiles[0][0, 0, 0] == 7:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().logits(tiles)

    network = Full()
    with ThreadPoolExecutor() as pool, running(network) as engine:
        with held(engine, network, pool):
            jobs = [pool.submit(run_all, engine, [value]) for value in (2, 3, 7)]
            wait_for(lambda: waiting(engine) == 3)
        assert [job.result(30) for job in jobs[:2]] == [[2], [3]]
        with pytest.raises(OutOfMemory, match="the device's memory is full"):
            jobs[2].result(30)
        assert engine.alive


def test_a_broken_device_ends_the_engine_and_answers_those_that_wait() -> None:
    class Broken(FirstChannel):
        def logits(self, tiles: list[Tile]) -> Tensor:
            super().logits(tiles)
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    network = Broken()
    with ThreadPoolExecutor() as pool, running(network, max_batch_tiles=1) as engine:
        network.may_run.clear()
        jobs = [pool.submit(run_all, engine, [value]) for value in (2, 3)]
        wait_for(lambda: waiting(engine) == 1)
        network.may_run.set()
        for job in jobs:
            with pytest.raises(EngineStopped, match=r"the device is broken: .*illegal memory access"):
                job.result(30)
        assert not engine.alive
        with pytest.raises(EngineStopped, match="the device is broken"):
            engine.admit(1, FAR)


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


def test_stopping_answers_those_that_wait_and_refuses_those_that_come() -> None:
    network = FirstChannel()
    with ThreadPoolExecutor() as pool:
        engine = Engine([network], max_batch_tiles=1, batch_wait_s=0, max_queued_tiles=10)
        engine.start()
        with held(engine, network, pool):
            ticket = engine.admit(1, FAR)
            job = pool.submit(list, engine.run(ticket, iter([tile(2)])))
            wait_for(lambda: waiting(engine) == 1)
            stopping = pool.submit(engine.stop)
            wait_for(lambda: engine._stopping)
        stopping.result(30)
        with pytest.raises(EngineStopped):
            job.result(30)
    assert not engine.alive
    with pytest.raises(EngineStopped):
        engine.admit(1, FAR)


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
