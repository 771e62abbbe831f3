"""Beside another process that takes a core whenever it can."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from benchmarks.images import ONE_MEGAPIXEL, photos, samples, segmenter
from benchmarks.load import Sample, load
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import Server, service

CLIENTS = (1, 16)
PLACES = ("alone", "beside one")
TEXT = """\
Images of one megapixel, default settings: alone on the machine, and beside one process that computes without end; in turns.
Ready: from exec to the first 200 of `/health/ready`."""


def run(*, quick: bool) -> Section:
    images = samples(segmenter(), photos([ONE_MEGAPIXEL]))
    starts: dict[str, list[float]] = {place: [] for place in PLACES}
    taken: dict[tuple[int, str], list[float]] = {(clients, place): [] for clients in CLIENTS for place in PLACES}
    for _ in range(1 if quick else 3):
        for place in PLACES:
            with neighbour() if place == PLACES[1] else nullcontext():
                begun = time.perf_counter()
                with service() as server:
                    starts[place].append(time.perf_counter() - begun)
                    for clients in CLIENTS:
                        taken[clients, place].append(milliseconds(server, images, clients, 1.0 if quick else 6.0))
    return Section("Beside another process", TEXT, *_told(starts, taken))


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that computes until the end."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def milliseconds(server: Server, images: list[Sample], clients: int, seconds: float) -> float:
    """The median of an answer's, once the service has answered some."""
    load(server.url, images, connections=clients, seconds=seconds / 3).checked()
    return statistics.median(load(server.url, images, connections=clients, seconds=seconds).checked().milliseconds())


def _told(starts: dict[str, list[float]], taken: dict[tuple[int, str], list[float]]) -> tuple[list[Row], list[Ratio]]:
    alone, beside = PLACES
    rows = [Row.of(f"a request of {clients} at once, {place}", values, "ms") for (clients, place), values in taken.items()]
    rows += [Row.of(f"ready, {place}", values, "s") for place, values in starts.items()]
    ratios = [
        Ratio.of(f"a request of {clients} at once, beside one / alone", taken[clients, beside], taken[clients, alone])
        for clients in CLIENTS
    ]
    return rows, [*ratios, Ratio.of("ready, beside one / alone", starts[beside], starts[alone])]
