"""Four times what the service can do: what is answered, what is refused, and how soon."""

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
PAUSE_S = 1.5
MARGIN = 1.15  # the rate that was answered varies, and at least so many times as much is to be offered
LEAST_GOODPUT = 0.85
MOST_REFUSAL = 0.1
TEXT = f"""\
Images of one megapixel, default settings but a deadline of {DEADLINE_S} s. First as many as are answered, by {CLIENTS} clients;
then at least {TIMES} times as many are offered, by clients that pause for {PAUSE_S} s between requests; then {CLIENTS} clients
again. Goodput counts answers with the bytes of `fcn-segment` alone; its ratio is to the mean of before and after. A refusal is
a 503. wrk takes its share of the same cores: what it takes is stated, and not made up for."""


class Round(NamedTuple):
    """What was answered before, in and after an overload, and the memory then."""

    before: Load
    overload: Load
    after: Load
    memory_mb: float

    @property
    def most(self) -> float:
        """Answers a second around it."""
        return (self.before.rate + self.after.rate) / 2

    @property
    def offered(self) -> float:
        """Requests a second."""
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
    # those that pause, and those that wait for about half the deadline (Little's law)
    clients = round(MARGIN * TIMES * before.rate * PAUSE_S + before.rate * DEADLINE_S / 2)
    overload = load(server.url, images, connections=clients, seconds=seconds, pause_ms=1000 * PAUSE_S)
    memory = server.memory_mb()
    load(server.url, images, connections=CLIENTS, seconds=1)  # what clients that have gone left is not counted
    return Round(before, overload, at_most(server, images, seconds / 3), memory)


def at_most(server: Server, images: list[Sample], seconds: float) -> Load:
    """What `CLIENTS` are answered; a slow machine refuses some of them, whose answers would come too near the deadline."""
    return load(server.url, images, connections=CLIENTS, seconds=seconds).checked(may_refuse=True)


def summary(rounds: list[Round], memory: float) -> tuple[list[Row], list[Ratio]]:
    found = [each.overload for each in rounds]
    accepted, refused = ([ms for each in found for ms in each.milliseconds(status)] for status in (200, 503))
    late = sum(ms > DEADLINE_S * 1000 for ms in accepted) + sum(len(each.milliseconds(504)) for each in found)
    answers = [answer for each in found for answer in each.answers]
    others = sum(answer.status not in (200, 503) for answer in answers)
    around = [one for each in rounds for one in (each.before, each.after)]
    rows = [
        Row.of(f"answered by {CLIENTS} clients", [each.rate for each in around], "images/s"),
        Row.of("offered", [each.offered for each in rounds], "images/s"),
        Row.of("goodput", [each.overload.rate for each in rounds], "images/s"),
        Row("accepted", percentile(accepted, 50), min(accepted, default=0), max(accepted, default=0), "ms"),
        Row("refused", percentile(refused, 50), min(refused, default=0), max(refused, default=0), "ms"),
        Row.of("answers with another status than 200 and 503", [others], f"of {len(answers)}"),
        Row.of("memory, before", [memory], "MB"),
        Row.of("memory, after each overload", [each.memory_mb for each in rounds], "MB"),
        Row.of("CPU time of wrk", [100 * each.cores for each in found], "% of a core"),
    ]
    goodput = statistics.median(each.overload.rate / each.most for each in rounds)
    ratios = [
        Ratio("offered / the most that is answered", min(each.offered / each.most for each in rounds), at_least=TIMES),
        Ratio("goodput / the most that is answered", goodput, at_least=LEAST_GOODPUT),
        Ratio("median of a refusal / of an answer", percentile(refused, 50) / percentile(accepted, 50), at_most=MOST_REFUSAL),
        Ratio("accepted requests past their deadline", late, at_most=0),
        Ratio("wrong answers", sum(each.wrong for each in found), at_most=0),
        Ratio("broken connections and timeouts", sum(each.errors for each in found), at_most=0),
    ]
    return rows, ratios
