"""Memory and time of images from a quarter to a hundred megapixels, and how much a large image delays small ones."""

from __future__ import annotations

import time
from functools import partial

import httpx

from benchmarks.harness.images import SMALL, command_line, photo, photos, samples
from benchmarks.harness.load import Load, Sample, load, percentile, repeat
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import PeakMemory, Server, service
from model.inference.scaling import Side

SIDES = (500, 1000, 2000, 4000, 10000)
# of the largest image beside small ones, in words
SIDES_ASKED: dict[Side, str] = {"native": "its own pixels", "auto": "the default side"}
DEADLINE_S = 600
SMALL_CLIENTS = 2
PAUSE_MS = 50
MOST_GIB = 1.0
MOST_SLOWER = 3.0  # factor
TEXT = f"""\
Each size is one square JPEG at `side=native`, sent to a new service with a deadline of {DEADLINE_S} s. Memory is the rise above
the idle service: of the proportional set size, or of the peak resident set if that rose more. Then {SMALL_CLIENTS} clients ask
for masks of 500x375 JPEGs, with a pause of {PAUSE_MS} ms on average: of an idle service, then while it works on images of the
largest size without a pause, at their own pixels and at the default side. Every answer has the bytes of `fcn-segment`."""


def run(*, quick: bool) -> Section:
    sides = (300, 600) if quick else SIDES
    masks = {each: command_line(side=each) for each in SIDES_ASKED}
    images = {side: samples(masks["native"], [photo("coffee", (side, side))])[0] for side in sides}
    small = samples(command_line(), photos([SMALL]))
    rows: list[Row] = []
    risen_mb: dict[int, float] = {}
    for side, image in images.items():
        with service(request_timeout_s=DEADLINE_S) as server:
            risen_mb[side], seconds = measure(server, image)
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, memory above idle", [risen_mb[side]], "MB"))
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, time", [seconds], "s"))
    largest = f"{sides[-1] ** 2 / 1e6:g} megapixels"
    ratios = [Ratio(f"{largest}, GiB above idle", risen_mb[sides[-1]] * 1e6 / 2**30, at_most=MOST_GIB)]
    with service(request_timeout_s=DEADLINE_S) as server:
        seconds = 2.0 if quick else 30.0
        load(server.url, small, connections=SMALL_CLIENTS, seconds=2).check()
        quiet = small_requests(server, small, seconds)
        rows += _small_rows("quiet", quiet)
        for large_side, words in SIDES_ASKED.items():
            image = samples(masks[large_side], [images[sides[-1]].body])[0]
            with repeat(partial(ask, server, image, large_side)):
                beside = small_requests(server, small, seconds)
            rows += _small_rows(f"beside {largest} at {words}", beside)
            slowdown = percentile(beside.milliseconds(), 99) / percentile(quiet.milliseconds(), 99)
            ratios.append(Ratio(f"p99 of small images, beside {largest} at {words} / quiet", slowdown, at_most=MOST_SLOWER))
    return Section("Size", TEXT, rows, ratios)


def _small_rows(name: str, result: Load) -> list[Row]:
    times = {words: percentile(result.milliseconds(), share) for words, share in (("median", 50), ("p99", 99))}
    return [Row.of(f"a small image, {name}, {words}", [time], "ms") for words, time in times.items()]


def measure(server: Server, image: Sample) -> tuple[float, float]:
    """Asks for one image; returns the peak memory above the idle service, in 10^6 bytes, and the seconds."""
    with PeakMemory(server) as memory:
        start = time.perf_counter()
        ask(server, image, "native")
        seconds = time.perf_counter() - start
    return memory.risen_mb, seconds


def ask(server: Server, image: Sample, side: Side) -> None:
    """Asks for the mask at this `side`; raises `RuntimeError` if its bytes are not the expected ones."""
    answer = httpx.post(f"{server.url}/segment?side={side}", content=image.body, timeout=DEADLINE_S).raise_for_status()
    if answer.content != image.answer:
        raise RuntimeError("the service answered a large image with another mask than fcn-segment")


def small_requests(server: Server, small: list[Sample], seconds: float) -> Load:
    return load(server.url, small, connections=SMALL_CLIENTS, seconds=seconds, pause_ms=PAUSE_MS).check()
