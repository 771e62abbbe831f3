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
TEXT = """\
Two clients ask for masks of 500x375 JPEGs, one after the other with a pause of 50 ms on average; alone, and while two more
clients send JPEGs of 24 megapixels without pause. Default settings; every answer compared. Times are those of the small."""


def run(*, quick: bool) -> Section:
    segment = segmenter()
    small = samples(segment, photos([SMALL]))
    size = (1500, 1000) if quick else LARGE
    large = samples(segment, [photo("coffee", size)])
    turns, seconds = (1, 2.0) if quick else (3, 10.0)
    alone, beside, ratios, streamed = [], [], [], []
    with service() as server:
        ask(server.url, small, 2)
        for _ in range(turns):
            unloaded = ask(server.url, small, seconds)
            with_large, rate = ask_beside(server.url, small, large, seconds)
            alone.append(unloaded)
            beside.append(with_large)
            streamed.append(rate)
            ratios.append(percentile(with_large, 99) / percentile(unloaded, 99))
    rows = [
        Row.of(f"small images {where}, {name}", [percentile(values, percent) for values in found], "ms")
        for where, found in (("alone", alone), ("beside large ones", beside))
        for name, percent in (("median", 50), ("p99", 99))
    ]
    rows.append(Row.of("large images meanwhile", streamed, "images/s"))
    ratio = Ratio("p99 of small images, beside large ones / alone", statistics.median(ratios), at_most=3)
    return Section("Mixed load", TEXT, rows, [ratio])


def ask(url: str, small: list[Sample], seconds: float) -> list[float]:
    return load(url, small, connections=2, seconds=seconds, pause_ms=50).checked().milliseconds()


def ask_beside(url: str, small: list[Sample], large: list[Sample], seconds: float) -> tuple[list[float], float]:
    """Milliseconds of the small images, and large images a second."""
    found: list[Load] = []
    stream = threading.Thread(target=lambda: found.append(load(url, large, connections=2, seconds=seconds + 2)))
    stream.start()
    threading.Event().wait(1)
    times = ask(url, small, seconds)
    stream.join()
    return times, found[0].checked().rate
