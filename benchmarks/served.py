"""Served against in process: how much of what the machine can do arrives over HTTP."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from benchmarks.images import ONE_MEGAPIXEL, photos, samples, segmenter
from benchmarks.load import Sample, load
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import service
from cli.local import Segmenter
from model.device import available_cores

CLIENTS = (1, 4, 16, 64)
TEXT = """\
Images of one megapixel (1152x864, JPEG) as masks. In process is what `fcn-segment` does with a folder: decoding, network
and encoding side by side on all cores. Served is the service with its default settings, asked by wrk on the same cores.
Every answer was compared with the bytes of `fcn-segment`. In each turn, in process and served follow each other. wrk's own
CPU time is counted: the ratio is to what is done in process on the cores that wrk leaves (by its rows' ratio alone, it
would be that much lower)."""


def run(*, quick: bool) -> Section:
    segment = segmenter()
    images = samples(segment, photos([ONE_MEGAPIXEL]))
    turns, seconds = (1, 1.0) if quick else (6, 8.0)
    rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    shares: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    inside: list[float] = []
    alone: list[float] = []
    lone: list[float] = []
    generator: list[float] = []
    with service() as server:
        load(server.url, images, connections=4, seconds=1).checked()
        in_process(segment, images, 1)
        for _ in range(turns):
            alone.append(one_by_one(segment, images, seconds / 2))
            first = load(server.url, images, connections=1, seconds=seconds / 2).checked()
            lone.append(statistics.median(first.milliseconds()))
            rates[1].append(first.rate)
            shares[1].append(first.rate * alone[-1] / 1000)
            for clients in CLIENTS[1:]:
                inside.append(in_process(segment, images, seconds))
                found = load(server.url, images, connections=clients, seconds=seconds).checked()
                rates[clients].append(found.rate)
                taken = found.cpu_seconds / found.seconds
                generator.append(100 * taken)
                shares[clients].append(found.rate / inside[-1] / (1 - taken / available_cores()))
    rows = [
        Row.of("in process, all cores", inside, "images/s"),
        *(Row.of(f"served, {clients} clients", values, "images/s") for clients, values in rates.items()),
        Row.of("one image at a time, in process", alone, "ms"),
        Row.of("one image at a time, served", lone, "ms"),
        Row.of("CPU time of wrk", generator, "% of a core"),
    ]
    ratios = [
        Ratio(f"served / in process, {clients} clients", statistics.median(values), 0.95 if clients == 16 else None)
        for clients, values in shares.items()
        if clients > 1
    ]
    together = [served / inside for served, inside in zip(lone, alone, strict=True)]
    ratios.append(Ratio("time of a lone request / in process", statistics.median(together), at_most=1.15))
    return Section("Served and in process", TEXT, rows, ratios)


def in_process(segment: Segmenter, images: list[Sample], seconds: float, threads: int | None = None) -> float:
    """Images a second of the command line's threads (or of so many) over a folder; the answers are checked."""
    started = time.perf_counter()
    end = started + seconds

    def work(first: int) -> int:
        count = 0
        while time.perf_counter() < end:
            sample = images[(first + count) % len(images)]
            if segment(sample.body) != sample.expected:
                raise RuntimeError("in process, an image was answered with another one's mask")
            count += 1
        return count

    count = threads or segment.workers
    with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        done = sum(pool.map(work, range(count)))
    return done / (time.perf_counter() - started)


def one_by_one(segment: Segmenter, images: list[Sample], seconds: float) -> float:
    """Median milliseconds of an image with the machine to itself."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 3:
        started = time.perf_counter()
        segment(images[len(taken) % len(images)].body)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
