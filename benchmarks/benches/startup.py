"""From the start of the process to the first image that it would take."""

from __future__ import annotations

import statistics
import time

from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import service

MOST_READY_S = 1.5
TEXT = """\
Whole processes, from exec on, with the default settings. Live: the first 200 of `/health/live`. Ready: the first 200 of
`/health/ready`, after a warm-up with every shape that a tile can have. Which libraries a process has loaded is read off its
memory map once it is ready."""


def run(*, quick: bool) -> Section:
    live, ready, with_torch = [], [], 0
    for _ in range(1 if quick else 9):
        begun = time.perf_counter()
        with service("/health/live") as server:
            live.append(time.perf_counter() - begun)
            server.wait("/health/ready")
            ready.append(time.perf_counter() - begun)
            with_torch += server.has_loaded("libtorch")
    rows = [Row.of("live", live, "s"), Row.of("ready", ready, "s")]
    ratios = [
        Ratio("start to ready, in seconds", statistics.median(ready), at_most=MOST_READY_S),
        Ratio(f"of {len(ready)} processes, those that have loaded PyTorch", with_torch, at_most=0),
    ]
    return Section("Start-up", TEXT, rows, ratios)
