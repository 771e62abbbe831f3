"""Memory and time of images from a quarter to a hundred megapixels, and how much a large image delays small ones."""

from __future__ import annotations

import time

import httpx

from benchmarks.harness.images import SMALL, command_line, photo, photos, samples
from benchmarks.harness.load import Load, Sample, load, percentile, repeat
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import PeakMemory, Server, service

SIDES = (500, 1000, 2000, 4000, 10000)
NATIVE = "/segment?side=native"
DEADLINE_S = 600
SMALL_CLIENTS = 2
PAUSE_MS = 50
MOST_GIB = 1.0
MOST_SLOWER = 3.0  # factor
TEXT = f"""\
Each size is one square JPEG at `side=native`, sent to a new service with a deadline of {DEADLINE_S} s. Memory is the rise above
the idle service: of the proportional set size, or of the peak resident set if that rose more. Then {SMALL_CLIENTS} clients ask
for masks of 500x375 JPEGs, with a pause of {PAUSE_MS} ms on average: of an idle service, then while it works on images of the
largest size without a pause. Every answer has the bytes of `fcn-segment`."""


def run(*, quick: bool) -> Section:
    sides = (300, 600) if quick else SIDES
    native = command_line(side="native")
    images = {side: samples(native, [photo("coffee", (side, side))])[0] for side in sides}
    small = samples(command_line(), photos([SMALL]))
    rows: list[Row] = []
    risen_mb: dict[int, float] = {}
    for side, image in images.items():
        with service(request_timeout_s=DEADLINE_S) as server:
            risen_mb[side], seconds = measure(server, image)
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, memory above idle", [risen_mb[side]], "MB"))
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, time", [seconds], "s"))
    largest = sides[-1]
    with service(request_timeout_s=DEADLINE_S) as server:
        seconds = 2.0 if quick else 30.0
        load(server.url, small, connections=SMALL_CLIENTS, seconds=2).check()
        quiet = small_requests(server, small, seconds)
        with repeat(lambda: ask(server, images[largest])):
            beside = small_requests(server, small, seconds)
    for name, result in (("quiet", quiet), ("meanwhile", beside)):
        rows.append(Row.of(f"a small image, {name}, median", [percentile(result.milliseconds(), 50)], "ms"))
        rows.append(Row.of(f"a small image, {name}, p99", [percentile(result.milliseconds(), 99)], "ms"))
    slowdown = percentile(beside.milliseconds(), 99) / percentile(quiet.milliseconds(), 99)
    ratios = [
        Ratio(f"{largest**2 / 1e6:g} megapixels, GiB above idle", risen_mb[largest] * 1e6 / 2**30, at_most=MOST_GIB),
        Ratio("p99 of small images, meanwhile / quiet", slowdown, at_most=MOST_SLOWER),
    ]
    return Section("Size", TEXT, rows, ratios)


def measure(server: Server, image: Sample) -> tuple[float, float]:
    """Asks for one image; returns the peak memory above the idle service, in 10^6 bytes, and the seconds."""
    with PeakMemory(server) as memory:
        start = time.perf_counter()
        ask(server, image)
        seconds = time.perf_counter() - start
    return memory.risen_mb, seconds


def ask(server: Server, image: Sample) -> None:
    """Asks for the mask at `side=native`; raises `RuntimeError` if its bytes are not the expected ones."""
    answer = httpx.post(server.url + NATIVE, content=image.body, timeout=DEADLINE_S).raise_for_status()
    if answer.content != image.answer:
        raise RuntimeError("the service answered a large image with another mask than fcn-segment")


def small_requests(server: Server, small: list[Sample], seconds: float) -> Load:
    return load(server.url, small, connections=SMALL_CLIENTS, seconds=seconds, pause_ms=PAUSE_MS).check()
