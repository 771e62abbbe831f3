"""Served against in process: how much of what the machine can do arrives over HTTP."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch

from benchmarks.images import ONE_MEGAPIXEL, photos, samples, segmenter
from benchmarks.load import Sample, load
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import service
from cli.local import Segmenter
from cli.main import run_all
from cli.works import Work
from model.cores import available_cores

AIMED = 16  # how many clients what is aimed at is measured with, and so four times as often
LOADS = (AIMED, 4, AIMED, 64, AIMED, AIMED)  # the clients of a turn's loads
MOST_A_CORE = 200  # images a second: so many are there to be done
PAIRS = 4  # of lone images in process and served, in a turn
CLIENTS = sorted({1, *LOADS})
TEXT = """\
Images of one megapixel (1152x864, JPEG) as masks. In process is `fcn-segment` over a folder: image files are read, segmented
and written, side by side on all cores. Served is the service with its default settings, asked by wrk on the same cores: the
same images come and go through sockets. Every answer was compared with the bytes of `fcn-segment`. A process may be a tenth
faster than its twin for all of its life: each turn starts both anew. Each load is compared with what is done in process right
before and right after it. wrk's own CPU time is counted: the ratio is to what is done in process on the cores that wrk leaves
(without that, it would be that much lower). What the threads of `fcn-segment` do with images that lie in memory, without any
files, is shown as well, with its thread more than there are cores (which is for files) and without."""


@dataclass
class Turns:
    """What the turns found: rates and milliseconds in process and served, and the shares of what the machine can do."""

    inside: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    fewer: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    lone: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=lambda: {clients: [] for clients in CLIENTS})
    shares: dict[int, list[float]] = field(default_factory=lambda: {clients: [] for clients in CLIENTS[1:]})

    def take(self, url: str, inside: Inside, images: list[Sample], seconds: float) -> None:
        """One turn; each load's share is of what was done in process right before and right after it."""
        work = partial(from_files, images=images, seconds=seconds)
        for _ in range(PAIRS):
            self.alone.append(inside(partial(one_by_one, images=images, seconds=seconds / 2)))
            first = load(url, images, connections=1, seconds=seconds / 2).checked()
            self.lone.append(statistics.median(first.milliseconds()))
            self.rates[1].append(first.rate)
        self.inside.append(inside(work))
        for clients in LOADS:
            found = load(url, images, connections=clients, seconds=seconds).checked()
            self.inside.append(inside(work))
            self.generator.append(100 * found.cores)
            self.rates[clients].append(found.rate)
            self.shares[clients].append(found.rate / statistics.mean(self.inside[-2:]) / (1 - found.cores / available_cores()))
        for _ in range(2):
            self.memory.append(inside(partial(in_process, images=images, seconds=seconds)))
            self.fewer.append(inside(partial(in_process, images=images, seconds=seconds, threads=available_cores())))

    def rows(self) -> list[Row]:
        return [
            Row.of("in process", self.inside, "images/s"),
            Row.of("in process from memory", self.memory, "images/s"),
            Row.of("in process from memory, a thread a core", self.fewer, "images/s"),
            *(Row.of(f"served, {clients} clients", values, "images/s") for clients, values in self.rates.items()),
            Row.of("one image at a time, in process", self.alone, "ms"),
            Row.of("one image at a time, served", self.lone, "ms"),
            Row.of("CPU time of wrk", self.generator, "% of a core"),
        ]

    def ratios(self) -> list[Ratio]:
        together = [served / inside for served, inside in zip(self.lone, self.alone, strict=True)]
        return [
            *(
                Ratio(f"served / in process, {clients} clients", statistics.median(values), 0.95 if clients == AIMED else None)
                for clients, values in self.shares.items()
            ),
            Ratio.of("in process from memory / in process", self.memory, self.inside),
            Ratio.of("in process from memory, a thread a core / in process", self.fewer, self.inside),
            Ratio("time of a lone request / in process", statistics.median(together), at_most=1.15),
        ]


class Inside:
    """A process of its own with a warm `Segmenter`, which it gives to functions."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.shutdown()

    def __call__(self, work: Callable[[Segmenter], float]) -> float:
        return self._process.submit(_inside, work).result()


def _inside(work: Callable[[Segmenter], float]) -> float:
    return work(_segmenter())


@cache
def _segmenter() -> Segmenter:
    return segmenter()


def run(*, quick: bool) -> Section:
    images = samples(segmenter(), photos([ONE_MEGAPIXEL]))
    turns = Turns()
    for _ in range(1 if quick else 5):
        with service() as server, Inside() as inside:
            load(server.url, images, connections=AIMED, seconds=1 if quick else 4).checked()
            inside(partial(from_files, images=images, seconds=1 if quick else 4))
            turns.take(server.url, inside, images, 1.0 if quick else 5.0)
    return Section("Served and in process", TEXT, turns.rows(), turns.ratios())


def from_files(segment: Segmenter, images: list[Sample], seconds: float) -> float:
    """Images a second of `fcn-segment` over a folder, from its first answer on; the answers are checked."""
    with TemporaryDirectory() as name:
        works = _works(Path(name), images, ceil(MOST_A_CORE * available_cores() * seconds))
        ended: list[float] = []
        with closing(run_all(segment, works)) as outcomes:
            for _ in outcomes:
                ended.append(time.perf_counter())
                if ended[-1] - ended[0] >= seconds:
                    break
        if any(_answer(work) != images[i % len(images)].expected for i, work in enumerate(works[: len(ended)])):
            raise RuntimeError("in process, an image was answered with another one's mask, or not at all")
    return (len(ended) - 1) / (ended[-1] - ended[0])


def _works(folder: Path, images: list[Sample], count: int) -> list[Work]:
    """The images in turn, so many times in all, each to a file of its own."""
    sources = [folder / f"{i}.jpg" for i in range(len(images))]
    for source, image in zip(sources, images, strict=True):
        source.write_bytes(image.body)
    return [Work(sources[i % len(sources)], folder / "out" / f"{i}.png") for i in range(count)]


def _answer(work: Work) -> bytes | None:
    return work.target.read_bytes() if work.target and work.target.exists() else None


def in_process(segment: Segmenter, images: list[Sample], seconds: float, threads: int | None = None) -> float:
    """Images a second of the command line's threads (or of so many), from memory to memory; the answers are checked."""
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
