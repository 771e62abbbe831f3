"""From the start of the process to the first answer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import ROOT, service

PROGRAMS = {
    "importing torch": "import torch",
    "importing torch, loading the file, one tile": """
import numpy as np
from model.predictor import Predictor
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
Predictor(load_weights(find_weights(DEFAULT_WEIGHTS))).logits([np.zeros((512, 512, 3), np.uint8)])""",
}
TEXT = """\
Whole processes, from exec on. Live: the first 200 of `/health/live`. Ready: the first 200 of `/health/ready`, after a
warm-up with every shape that a tile can have."""


def run(*, quick: bool) -> Section:
    times: dict[str, list[float]] = {name: [] for name in (*PROGRAMS, "service live", "service ready")}
    for _ in range(1 if quick else 3):
        for name, program in PROGRAMS.items():
            times[name].append(seconds_of([sys.executable, "-c", program]))
        live, ready = service_times()
        times["service live"].append(live)
        times["service ready"].append(ready)
    rows = [Row.of(name, values, "s") for name, values in times.items()]
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = [Ratio(f"service ready / {name}", medians["service ready"] / medians[name]) for name in PROGRAMS]
    return Section("Start-up", TEXT, rows, ratios)


def seconds_of(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    return time.perf_counter() - begun


def service_times() -> tuple[float, float]:
    """Seconds until live and until ready."""
    begun = time.perf_counter()
    with service("/health/live") as server:
        live = time.perf_counter() - begun
        server.wait("/health/ready")
        return live, time.perf_counter() - begun
