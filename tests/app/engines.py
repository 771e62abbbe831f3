"""An engine over a network whose answers are seen in its tiles, which can be held, and what asks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.engine import Engine, Place
from app.tickets import Tile

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


def run_all(engine: Engine, values: list[int], side: int = 32, place: Place | None = None) -> list[int]:
    ticket = engine.admit(len(values), FAR)
    try:
        return [int(logits[0, 0, 0]) for logits in engine.run(ticket, (tile(v, side) for v in values), place)]
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
