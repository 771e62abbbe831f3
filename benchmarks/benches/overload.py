"""Offers four times the load that the service can answer; measures goodput, refusals and their times."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from benchmarks.harness.images import ONE_MEGAPIXEL, command_line, photos, samples
from benchmarks.harness.load import Load, Sample, load, percentile
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import Server, service

CLIENTS = 16
DEADLINE_S = 5
TIMES = 4
PAUSE_S = 1.5  # mean pause of a client between two requests
MARGIN = 1.15  # offers more than `TIMES` times the rate, because the measured rate varies
LEAST_GOODPUT = 0.85
MOST_REFUSAL = 0.1
TEXT = f"""\
Images of one megapixel, and a deadline of {DEADLINE_S} s. {CLIENTS} clients send the next request as soon as they have an
answer; then clients that pause for {PAUSE_S} s between requests offer at least {TIMES} times that rate; then the {CLIENTS}
clients again. Goodput counts answers with the bytes of `fcn-segment` alone; its ratio is to the mean rate before and after. A
refusal is a 503. wrk runs on the same cores, and the rates are not corrected for it."""


class Round(NamedTuple):
    """The loads before, in and after an overload, and the memory right after the overload, in 10^6 bytes."""

    before: Load
    overload: Load
    after: Load
    memory_mb: float

    @property
    def most(self) -> float:
        """Mean rate before and after the overload, in answers a second."""
        return (self.before.rate + self.after.rate) / 2

    @property
    def offered_rate(self) -> float:
        """Requests a second during the overload."""
        return len(self.overload.answers) / self.overload.seconds


def run(*, quick: bool) -> Section:
    images = samples(command_line(), photos([ONE_MEGAPIXEL]))
    seconds = 6.0 if quick else 60.0
    with service(request_timeout_s=DEADLINE_S) as server:
        load(server.url, images, connections=CLIENTS, seconds=2 if quick else 10)
        memory = server.memory_mb()
        rounds = [a_round(server, images, seconds) for _ in range(1 if quick else 3)]
    return Section("Overload", TEXT, *summary(rounds, memory))


def a_round(server: Server, images: list[Sample], seconds: float) -> Round:
    before = at_most(server, images, seconds / 3)
    # Little's law: the clients that pause, plus the clients that wait for about half the deadline
    clients = round(MARGIN * TIMES * before.rate * PAUSE_S + before.rate * DEADLINE_S / 2)
    overload = load(server.url, images, connections=clients, seconds=seconds, pause_ms=1000 * PAUSE_S)
    memory = server.memory_mb()
    load(server.url, images, connections=CLIENTS, seconds=1)  # not counted: ends the requests of clients that have gone
    return Round(before, overload, at_most(server, images, seconds / 3), memory)


def at_most(server: Server, images: list[Sample], seconds: float) -> Load:
    """The load of `CLIENTS` clients that ask without pause.

    Refusals are allowed: a slow machine refuses requests whose answers would come too close to its deadline.
    """
    return load(server.url, images, connections=CLIENTS, seconds=seconds).check(may_refuse=True)


def summary(rounds: list[Round], memory: float) -> tuple[list[Row], list[Ratio]]:
    overloads = [each.overload for each in rounds]
    accepted_ms, refused_ms = ([ms for each in overloads for ms in each.milliseconds(status)] for status in (200, 503))
    late = sum(ms > DEADLINE_S * 1000 for ms in accepted_ms) + sum(len(each.milliseconds(504)) for each in overloads)
    answers = [answer for each in overloads for answer in each.answers]
    other_statuses = sum(answer.status not in (200, 503) for answer in answers)
    lighter_loads = [lighter_load for each in rounds for lighter_load in (each.before, each.after)]
    rows = [
        Row.of(f"answered by {CLIENTS} clients", [each.rate for each in lighter_loads], "images/s"),
        Row.of("offered", [each.offered_rate for each in rounds], "images/s"),
        Row.of("goodput", [each.overload.rate for each in rounds], "images/s"),
        Row("accepted", percentile(accepted_ms, 50), min(accepted_ms, default=0), max(accepted_ms, default=0), "ms"),
        Row("refused", percentile(refused_ms, 50), min(refused_ms, default=0), max(refused_ms, default=0), "ms"),
        Row.of("answers with another status than 200 and 503", [other_statuses], f"of {len(answers)}"),
        Row.of("memory, before", [memory], "MB"),
        Row.of("memory, after each overload", [each.memory_mb for each in rounds], "MB"),
        Row.of("CPU time of wrk", [100 * each.cores for each in overloads], "% of a core"),
    ]
    goodput = statistics.median(each.overload.rate / each.most for each in rounds)
    ratios = [
        Ratio("offered / the most that is answered", min(each.offered_rate / each.most for each in rounds), at_least=TIMES),
        Ratio("goodput / the most that is answered", goodput, at_least=LEAST_GOODPUT),
        Ratio(
            "median of a refusal / of an answer", percentile(refused_ms, 50) / percentile(accepted_ms, 50), at_most=MOST_REFUSAL
        ),
        Ratio("accepted requests past their deadline", late, at_most=0),
        Ratio("wrong answers", sum(each.wrong for each in overloads), at_most=0),
        Ratio("broken connections and timeouts", sum(each.errors for each in overloads), at_most=0),
    ]
    return rows, ratios
