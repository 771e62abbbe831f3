"""Memory and time from a quarter to a hundred megapixels, and what small images notice of a large one."""

from __future__ import annotations

import time

import httpx

from benchmarks.harness.images import SMALL, command_line, photo, photos, samples
from benchmarks.harness.load import Load, Sample, load, percentile, repeated
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import PeakMemory, Server, service

SIDES = (500, 1000, 2000, 4000, 10000)
NATIVE = "/segment?side=native"
DEADLINE_S = 600
SMALL_CLIENTS = 2
PAUSE_MS = 50
MOST_GIB = 1.0
MOST_SLOWER = 3.0
TEXT = f"""\
One square JPEG at `side=native`, by a service that was started for it; default settings but a deadline of {DEADLINE_S} s.
Memory is that above the idle service: the peak of the proportional set size, looked at every 50 ms, or of the resident set
where that has risen more. Then {SMALL_CLIENTS} clients ask for masks of 500x375 JPEGs, with a pause of {PAUSE_MS} ms on
average: of a quiet service, and while the largest size is worked on without pause. All answers were compared with those of
`fcn-segment`."""


def run(*, quick: bool) -> Section:
    sides = (300, 600) if quick else SIDES
    native = command_line(side="native")
    images = {side: samples(native, [photo("coffee", (side, side))])[0] for side in sides}
    small = samples(command_line(), photos([SMALL]))
    rows: list[Row] = []
    risen: dict[int, float] = {}
    for side, image in images.items():
        with service(request_timeout_s=DEADLINE_S) as server:
            risen[side], seconds = measured(server, image)
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, memory above idle", [risen[side]], "MB"))
        rows.append(Row.of(f"{side * side / 1e6:g} megapixels, time", [seconds], "s"))
    largest = sides[-1]
    with service(request_timeout_s=DEADLINE_S) as server:
        seconds = 2.0 if quick else 30.0
        load(server.url, small, connections=SMALL_CLIENTS, seconds=2).checked()
        quiet = small_requests(server, small, seconds)
        with repeated(lambda: ask(server, images[largest])):
            beside = small_requests(server, small, seconds)
    for name, found in (("quiet", quiet), ("meanwhile", beside)):
        rows.append(Row.of(f"a small image, {name}, median", [percentile(found.milliseconds(), 50)], "ms"))
        rows.append(Row.of(f"a small image, {name}, p99", [percentile(found.milliseconds(), 99)], "ms"))
    slower = percentile(beside.milliseconds(), 99) / percentile(quiet.milliseconds(), 99)
    ratios = [
        Ratio(f"{largest**2 / 1e6:g} megapixels, GiB above idle", risen[largest] * 1e6 / 2**30, at_most=MOST_GIB),
        Ratio("p99 of small images, meanwhile / quiet", slower, at_most=MOST_SLOWER),
    ]
    return Section("Size", TEXT, rows, ratios)


def measured(server: Server, image: Sample) -> tuple[float, float]:
    """Megabytes above the idle service, and seconds."""
    with PeakMemory(server) as memory:
        begun = time.perf_counter()
        ask(server, image)
        seconds = time.perf_counter() - begun
    return memory.risen_mb, seconds


def ask(server: Server, image: Sample) -> None:
    """Raises `RuntimeError` where the answer has other bytes."""
    answer = httpx.post(server.url + NATIVE, content=image.body, timeout=DEADLINE_S).raise_for_status()
    if answer.content != image.expected:
        raise RuntimeError("a large image was answered with another mask than that of fcn-segment")


def small_requests(server: Server, small: list[Sample], seconds: float) -> Load:
    return load(server.url, small, connections=SMALL_CLIENTS, seconds=seconds, pause_ms=PAUSE_MS).checked()
