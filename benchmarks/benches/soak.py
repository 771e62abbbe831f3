"""Good and hostile traffic for half an hour: memory, health, statuses, and whether a photo always gets the same bytes."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import combinations
from typing import NamedTuple

import httpx

from benchmarks.harness.load import repeat
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT, Server, service
from benchmarks.harness.traffic import Outcome, Traffic, encoded_photos

MINUTES = 30.0
CLIENTS = 8
ROUND_S = 60.0
LEAST_ROUNDS = 6
QUICK_MINUTES, QUICK_AGAIN = 0.2, 20
SETTLE_S = 2.0  # from the end of a round until its memory is read
WARM_UP = 3  # the slope leaves out the first 1 / WARM_UP of the rounds
PROBE_S = 0.2  # between two health checks
MIB = 1 << 20
MOST_SLOPE_MIB, MOST_HEALTH_S = 1.0, 1.0
TEXT = f"""\
{CLIENTS} clients send photos of many sizes and formats with every form of answer, batches, damaged files, files made to cost
much, bad queries, hostile and incomplete heads, stalled uploads and pipelined requests; some disconnect before the answer. The
Dockerfile's `MALLOC_` variables are set. After each round, when no request is in progress, the bench reads the memory
(proportional set size); its slope is the median over all pairs of rounds without the first third. Health is requested every
{PROBE_S:g} s. Each answer to a photo is compared with the first one."""


class Round(NamedTuple):
    """Number of requests from the start of the soak to the end of the round, and the memory then, in 10^6 bytes."""

    requests: int
    memory_mb: float


@contextmanager
def health_checks(url: str) -> Iterator[tuple[list[float], list[bool]]]:
    """Asks for `/health/live` on a thread while the block runs; yields the seconds of each check, and whether it had a 200."""
    seconds, good = list[float](), list[bool]()
    with httpx.Client(base_url=url, timeout=30) as client:

        def ask() -> None:
            start = time.perf_counter()
            try:
                good.append(client.get("/health/live").status_code == httpx.codes.OK)
            except httpx.TransportError:
                good.append(False)
            seconds.append(time.perf_counter() - start)
            time.sleep(PROBE_S)

        with repeat(ask):
            yield seconds, good


def run(*, quick: bool, minutes: float = MINUTES) -> Section:
    photos, digests = encoded_photos(quick=quick), dict[tuple[int, str], str]()
    seconds = 60 * (QUICK_MINUTES if quick else minutes)
    count = max(LEAST_ROUNDS, round(seconds / ROUND_S))
    with (
        service(environment=image_variables(), log_level="error") as server,
        health_checks(server.url) as (health_s, good),
        ExitStack() as open_clients,
    ):
        clients = [open_clients.enter_context(closing(Traffic(server.url, photos, digests, seed))) for seed in range(CLIENTS)]
        outcomes: list[Outcome] = []
        rounds = []
        for _ in range(count):
            outcomes += a_round(clients, seconds / count)
            time.sleep(SETTLE_S)
            rounds.append(Round(len(outcomes), idle_memory(server)))
        outcomes += clients[0].again(QUICK_AGAIN if quick else None)
    changes = sum(client.changes for client in clients)
    return Section("Soak", TEXT, *summary(outcomes, rounds, health_s, good.count(False), changes))


def a_round(clients: Sequence[Traffic], seconds: float) -> list[Outcome]:
    """Lets all clients send requests for this many seconds; returns the outcomes."""
    end = time.monotonic() + seconds

    def ask(client: Traffic) -> list[Outcome]:
        client_outcomes = []
        while time.monotonic() < end:
            client_outcomes.append(client.one())
        return client_outcomes

    with ThreadPoolExecutor(len(clients)) as pool:
        return [outcome for outcomes in pool.map(ask, clients) for outcome in outcomes]


def idle_memory(server: Server) -> float:
    """Memory in 10^6 bytes once no request is under way; raises `RuntimeError` if that takes more than a minute."""
    for _ in range(600):
        if not httpx.get(f"{server.url}/health", timeout=30).json()["requests_in_flight"]:
            return server.memory_mb()
        time.sleep(0.1)
    raise RuntimeError("requests are still under way a minute after the last one was sent")


def slope(rounds: Sequence[Round]) -> float:
    """MiB of memory that 10,000 requests add after the warm-up: the median over all pairs of rounds (Theil-Sen estimator)."""
    warm = rounds[len(rounds) // WARM_UP :]
    pairs = [(b.memory_mb - a.memory_mb) * 1e6 / MIB / (b.requests - a.requests) for a, b in combinations(warm, 2)]
    return statistics.median(pairs) * 10_000


def image_variables() -> dict[str, str]:
    """The `MALLOC_` variables for glibc that the Dockerfile sets."""
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / "Dockerfile").read_text()))


def summary(
    outcomes: Sequence[Outcome], rounds: Sequence[Round], health_s: Sequence[float], failures: int, changes: int
) -> tuple[list[Row], list[Ratio]]:
    """Rows and ratios of a soak.

    health_s: seconds of each health check. failures: number of failed health checks. changes: number of answers to a photo with
    other bytes than its first one.
    """
    other_outcomes = Counter(f"{outcome.kind}: {outcome.status}" for outcome in outcomes if not outcome.is_allowed)
    rows = [Row.of("sent", [len(outcomes)], "requests")]
    rows += [Row.of(f"unwanted, {what}", [number], "requests") for what, number in other_outcomes.most_common()]
    rows += [
        Row.of("memory after the first round", [rounds[0].memory_mb], "MB"),
        Row.of("memory after the second third", [rounds[2 * len(rounds) // 3 - 1].memory_mb], "MB"),
        Row.of("memory at the end", [rounds[-1].memory_mb], "MB"),
        Row.of("memory once warmed up", [each.memory_mb for each in rounds[len(rounds) // WARM_UP :]], "MB"),
        Row.of("health", [1000 * each for each in health_s], "ms"),
    ]
    server_errors = sum(outcome.status >= 500 and outcome.status not in (503, 504) for outcome in outcomes)
    ratios = [
        Ratio("answers of 5xx that are neither 503 nor 504", server_errors, at_most=0),
        Ratio("requests without an answer, or with one that their kind must not have", other_outcomes.total(), at_most=0),
        Ratio("answers to a photo with other bytes than its first one", changes, at_most=0),
        Ratio("health checks that were not answered with 200", failures, at_most=0),
        Ratio("the slowest health check, in seconds", max(health_s), at_most=MOST_HEALTH_S),
        Ratio("memory that 10,000 requests add, in MiB", slope(rounds), at_most=MOST_SLOPE_MIB),
    ]
    return rows, ratios
