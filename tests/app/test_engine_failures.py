"""What the engine does when a batch, a tile or the device fails, and when it is stopped."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from app.engine import Engine
from app.engine_errors import EngineStopped, OutOfMemory
from app.tickets import Tile
from tests.app.engines import FAR, FirstChannel, held, run_all, running, tile, waiting
from tests.conftest import wait_for


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


def test_a_network_that_gives_too_few_results_fails_its_batch_and_the_engine_goes_on() -> None:
    class Short(FirstChannel):
        def logits(self, tiles: list[Tile]) -> Tensor:
            found = super().logits(tiles)
            return found[:0] if tiles[0][0, 0, 0] == 9 else found

    with running(Short()) as engine:
        ticket = engine.admit(1, engine.clock() + 30)
        with pytest.raises(ValueError, match="shorter"):
            next(engine.run(ticket, iter([tile(9)])))
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


def test_what_a_failed_batch_held_is_free_when_its_tiles_are_tried_one_by_one() -> None:
    class Greedy(FirstChannel):
        def logits(self, tiles: list[Tile]) -> Tensor:
            if len(tiles) > 1:
                activations = torch.zeros(8)
                taken.append(weakref.ref(activations))
                raise torch.OutOfMemoryError(f"no room beside {len(activations)} numbers")
            still_taken.extend(each() is not None for each in taken)
            return super().logits(tiles)

    taken: list[weakref.ref[Tensor]] = []
    still_taken: list[bool] = []
    network = Greedy()
    with ThreadPoolExecutor() as pool, running(network) as engine:
        with held(engine, network, pool):
            jobs = [pool.submit(run_all, engine, [value]) for value in (2, 3)]
            wait_for(lambda: waiting(engine) == 2)
        assert sorted(job.result(30)[0] for job in jobs) == [2, 3]
    assert still_taken == [False, False]


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
