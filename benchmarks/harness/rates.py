"""Measures the tiles a second that a runtime runs for a number of callers at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from model.inference.runtime import Runtime, Tile

TILE = (384, 480)  # pixels of a tile of the published weights, (height, width)
PARTS = 5  # parts of the duration; each gives a rate


def tiles_a_second(runtime: Runtime, *, batch: int, callers: int, seconds: float) -> list[float]:
    """The rate of each of `PARTS` parts of `seconds`, after a part as warm-up.

    batch: tiles of a call. callers: number of threads that call the runtime.
    """
    batches = [list(np.random.default_rng(i).integers(0, 256, (batch, *TILE, 3), np.uint8)) for i in range(callers)]
    for _ in range(3):
        runtime.logits(batches[0])
    rates = []
    with ThreadPoolExecutor(callers) as pool:
        for _ in range(PARTS + 1):
            start = time.perf_counter()
            end = start + seconds / PARTS
            calls = sum(pool.map(lambda tiles: _calls(runtime, tiles, end), batches))  # noqa: B023
            rates.append(calls * batch / (time.perf_counter() - start))
    return rates[1:]


def _calls(runtime: Runtime, batch: list[Tile], end: float) -> int:
    calls = 0
    while time.perf_counter() < end:
        runtime.logits(batch)
        calls += 1
    return calls
