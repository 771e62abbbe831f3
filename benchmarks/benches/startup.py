"""Time from the start of the process until it is live, and until it is ready for images."""

from __future__ import annotations

import statistics
import time

from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import service

MOST_READY_S = 1.5
TEXT = """\
Seconds from exec, with the default settings. Live: the first 200 of `/health/live`. Ready: the first 200 of `/health/ready`,
after a warm-up with every shape of a tile. The memory map of the ready process shows which libraries it has loaded."""


def run(*, quick: bool) -> Section:
    live_s, ready_s, with_torch = [], [], 0
    for _ in range(1 if quick else 9):
        start = time.perf_counter()
        with service("/health/live") as server:
            live_s.append(time.perf_counter() - start)
            server.wait("/health/ready")
            ready_s.append(time.perf_counter() - start)
            with_torch += server.has_loaded("libtorch")
    rows = [Row.of("live", live_s, "s"), Row.of("ready", ready_s, "s")]
    ratios = [
        Ratio("start to ready, in seconds", statistics.median(ready_s), at_most=MOST_READY_S),
        Ratio(f"of {len(ready_s)} processes, those that have loaded PyTorch", with_torch, at_most=0),
    ]
    return Section("Start-up", TEXT, rows, ratios)
