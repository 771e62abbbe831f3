"""Small images while large ones stream in: how long the small ones wait."""

from __future__ import annotations

import statistics
import threading

from benchmarks.images import photo, photos, samples, segmenter
from benchmarks.load import Load, Sample, load, percentile
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import service

SMALL = (500, 375)
LARGE = (6000, 4000)
NATIVE = "/segment?side=native"
TEXT = """\
Two clients ask for masks of 500x375 JPEGs, one after the other with a pause of 50 ms on average; alone, while two more
clients send JPEGs of 24 megapixels without pause, and while those are segmented at their own size (some 180 tiles each).
Default settings; every answer compared. Times are those of the small."""


def run(*, quick: bool) -> Section:
    segment = segmenter()
    small = samples(segment, photos([SMALL]))
    data = [photo("coffee", (1500, 1000) if quick else LARGE)]
    streams = {
        "large ones": ("/segment", samples(segment, data), 4.0 if quick else 10.0),
        "large ones at their own size": (NATIVE, samples(segmenter("--side", "native"), data), 4.0 if quick else 45.0),
    }
    alone: list[list[float]] = []
    beside: dict[str, list[list[float]]] = {name: [] for name in streams}
    streamed: dict[str, list[float]] = {name: [] for name in streams}
    with service() as server:
        ask(server.url, small, 2)
        for _ in range(1 if quick else 3):
            alone.append(ask(server.url, small, 2.0 if quick else 10.0))
            for name, (path, large, seconds) in streams.items():
                times, rate = ask_beside(server.url, small, large, seconds, path)
                beside[name].append(times)
                streamed[name].append(rate)
    rows = [
        Row.of(f"small images {where}, {name}", [percentile(values, percent) for values in found], "ms")
        for where, found in (("alone", alone), *((f"beside {name}", times) for name, times in beside.items()))
        for name, percent in (("median", 50), ("p99", 99))
    ]
    rows += [Row.of(f"{name} meanwhile", rates, "images/s") for name, rates in streamed.items()]
    return Section("Mixed load", TEXT, rows, [_ratio(name, times, alone) for name, times in beside.items()])


def _ratio(name: str, beside: list[list[float]], alone: list[list[float]]) -> Ratio:
    ratios = [percentile(these, 99) / percentile(those, 99) for these, those in zip(beside, alone, strict=True)]
    return Ratio(f"p99 of small images, beside {name} / alone", statistics.median(ratios), at_most=3)


def ask(url: str, small: list[Sample], seconds: float) -> list[float]:
    return load(url, small, connections=2, seconds=seconds, pause_ms=50).checked().milliseconds()


def ask_beside(url: str, small: list[Sample], large: list[Sample], seconds: float, path: str) -> tuple[list[float], float]:
    """Milliseconds of the small images, and large images a second."""
    found: list[Load] = []
    stream = threading.Thread(target=lambda: found.append(load(url, large, connections=2, seconds=seconds + 2, path=path)))
    stream.start()
    threading.Event().wait(1)
    times = ask(url, small, seconds)
    stream.join()
    return times, found[0].checked().rate
