"""Hostile files: one at a time beside a good client, then forty of the worst at once with a small memory budget."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from benchmarks.harness.hostile import HOSTILE, hostile
from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.load import percentile, repeat
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import PeakMemory, Server, service

BUDGET_MB = 600
AT_ONCE = 40
WORST = 4  # number of kinds that take the most time, and of kinds that take the most memory
REPETITIONS = 3
MIXTURES, MIXTURE_CLIENTS = 30, 4
# statuses that a hostile file may get
EXPECTED_STATUSES = (200, 413, 415, 422, 503)
TEXT = f"""\
Each of {{kinds}} kinds of hostile files (`benchmarks/harness/hostile.py`) is sent {REPETITIONS} times, while one client posts
JPEGs of one megapixel and another requests `/health/live` every 20 ms. CPU time is that of all processes, minus what the good
client alone uses. Then {MIXTURE_CLIENTS} clients send all kinds {MIXTURES} times, and {AT_ONCE} of the worst are sent at once
with `SEGMENT_MEMORY_MB={BUDGET_MB}`. Memory *that they add* is without that of the idle service, *of the service* is all."""


def run(*, quick: bool) -> Section:
    kinds = list(HOSTILE)[:3] if quick else list(HOSTILE)
    seconds: dict[str, float] = {}
    megabytes: dict[str, float] = {}
    with service() as server, good_clients(server.url) as (photo_ms, live_ms):
        pause_s = 1.0 if quick else 5.0
        before = _cpu(server)
        time.sleep(pause_s)
        alone_ms, alone_live_ms, good_cpu_rate = photo_ms.copy(), live_ms.copy(), (_cpu(server) - before) / pause_s
        photo_ms.clear()
        live_ms.clear()
        for kind in kinds:
            data = hostile(kind)
            before, start = _cpu(server), time.perf_counter()
            with PeakMemory(server) as memory:
                for _ in range(REPETITIONS):
                    _post(server.url, data)
            duration = time.perf_counter() - start
            seconds[kind] = max(0.0, (_cpu(server) - before - good_cpu_rate * duration) / REPETITIONS)
            megabytes[kind] = memory.risen_mb
        beside_ms, beside_live_ms = photo_ms.copy(), live_ms.copy()
        mixture = [hostile(kind) for _ in range(1 if quick else MIXTURES) for kind in kinds]
        with PeakMemory(server) as peak, ThreadPoolExecutor(MIXTURE_CLIENTS) as pool:
            list(pool.map(lambda data: _post(server.url, data), mixture))
        after_mb = server.memory_mb()
    worst = (
        sorted(seconds, key=lambda kind: seconds[kind])[-WORST:] + sorted(megabytes, key=lambda kind: megabytes[kind])[-WORST:]
    )
    with service(memory_mb=BUDGET_MB) as server, PeakMemory(server) as memory, ThreadPoolExecutor(AT_ONCE) as pool:
        files = [hostile(worst[i % len(worst)]) for i in range(AT_ONCE)]
        list(pool.map(lambda data: _post(server.url, data), files))
    at_once_mb = memory.risen_mb
    rows = [
        Row.of("CPU time of a hostile file, all kinds", list(seconds.values()), "s"),
        Row.of("memory that hostile files add, all kinds", list(megabytes.values()), "MB"),
        Row.of(f"memory of the service during {len(mixture)} hostile requests, at most", [peak.most_mb], "MB"),
        Row.of("a good request alone", alone_ms, "ms"),
        Row.of("a good request beside them", beside_ms, "ms"),
        Row.of("/health/live beside them", beside_live_ms, "ms"),
    ]
    ratios = [
        Ratio(f"most CPU time, in seconds ({max(seconds, key=lambda kind: seconds[kind])})", max(seconds.values()), at_most=3),
        Ratio(
            "p99 of a good request beside them, to that alone", percentile(beside_ms, 99) / percentile(alone_ms, 99), at_most=3
        ),
        Ratio("/health/live beside them, median, in seconds", statistics.median(beside_live_ms) / 1000, at_most=0.1),
        Ratio("/health/live beside them, slowest, in seconds", max(beside_live_ms) / 1000, at_most=1),
        Ratio("/health/live alone, slowest, in seconds", max(alone_live_ms) / 1000),
        Ratio(f"memory of the service after {len(mixture)} hostile requests, in MB", after_mb, at_most=700),
        Ratio(f"{AT_ONCE} of the worst at once with {BUDGET_MB} MB: memory above idle, in MB", at_once_mb, at_most=650),
    ]
    return Section("Hostile files", TEXT.format(kinds=len(kinds)), rows, ratios)


@contextmanager
def good_clients(url: str) -> Iterator[tuple[list[float], list[float]]]:
    """Posts photographs and asks `/health/live`, each on a thread, while the block runs; yields the milliseconds of both."""
    photo_ms, live_ms = list[float](), list[float]()
    photo = photos([ONE_MEGAPIXEL])[0]
    with httpx.Client(base_url=url, timeout=60) as client:

        def post() -> None:
            with _measure(photo_ms):
                client.post("/segment", content=photo).raise_for_status()
            time.sleep(0.05)

        def ask() -> None:
            with _measure(live_ms):
                client.get("/health/live").raise_for_status()
            time.sleep(0.02)

        with repeat(post), repeat(ask):
            yield photo_ms, live_ms


@contextmanager
def _measure(milliseconds: list[float]) -> Iterator[None]:
    """Appends the duration of the block to the list."""
    start = time.perf_counter()
    yield
    milliseconds.append(1000 * (time.perf_counter() - start))


def _post(url: str, data: bytes) -> None:
    """Posts a hostile file; raises `RuntimeError` if its status is not in `EXPECTED_STATUSES`."""
    status = httpx.post(f"{url}/segment", content=data, timeout=120).status_code
    if status not in EXPECTED_STATUSES:
        raise RuntimeError(f"a hostile file was answered with {status}")


def _cpu(server: Server) -> float:
    """CPU seconds of the server's process and of all its workers, ended ones included, which `/metrics` reports."""
    times = server.process.cpu_times()
    return float(times.user + times.system + server.metric("segment_worker_cpu_seconds_total"))
