"""How many tiles a second a runtime runs, for so many callers at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.benches.runtimes import TILE
from model.inference.runtime import Runtime, Tile

PARTS = 5  # that a time is divided into; each has a rate


def tiles_a_second(runtime: Runtime, *, batch: int, callers: int, seconds: float) -> list[float]:
    """Of each second or less, while so many threads call with batches of this size; what comes before is not counted."""
    batches = [list(np.random.default_rng(i).integers(0, 256, (batch, *TILE, 3), np.uint8)) for i in range(callers)]
    for _ in range(3):
        runtime.logits(batches[0])
    rates = []
    with ThreadPoolExecutor(callers) as pool:
        for _ in range(PARTS + 1):
            started = time.perf_counter()
            end = started + seconds / PARTS
            calls = sum(pool.map(lambda each: _calls(runtime, each, end), batches))  # noqa: B023
            rates.append(calls * batch / (time.perf_counter() - started))
    return rates[1:]


def _calls(runtime: Runtime, batch: list[Tile], end: float) -> int:
    calls = 0
    while time.perf_counter() < end:
        runtime.logits(batch)
        calls += 1
    return calls
