"""Four times what the service can do: what is answered, what is refused, and how soon."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from benchmarks.images import ONE_MEGAPIXEL, photos, samples, segmenter
from benchmarks.load import Load, Sample, load, percentile
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import Server, service
from model.cores import available_cores

CLIENTS = 16
DEADLINE_S = 5
TIMES = 4
PAUSE_S = 1.5
MARGIN = 1.07  # the rate that was answered varies, and at least so many times as much is to be offered
ROUNDS = 7
MOST_ROUNDS = 12
STEADY = 1.1  # such times are made up for, so that `MARGIN` is enough
STOLEN = 0.1  # of a core
TEXT = f"""\
Images of one megapixel, default settings but a deadline of {DEADLINE_S} s. First as many as are answered, by {CLIENTS} clients;
then at least {TIMES} times as many are offered for a minute, by clients that pause for {PAUSE_S} s between requests; then
{CLIENTS} clients again; and so {ROUNDS} times. A time after which the machine is more than {STEADY} times as fast or as slow as
before, or in which a virtual machine's host gave more than {STOLEN} of a core to others, counts for all but what is offered and
goodput, and another is added, up to {MOST_ROUNDS} in all. A refusal is a 503 with `Retry-After`; goodput counts right masks
alone, and its ratio is to what is answered right before and after, each on the cores that wrk and a virtual machine's host
leave: a host that gives its cores to others meanwhile tells so. Memory is the process's proportional set size."""


class Round(NamedTuple):
    """What was answered before, in and after an overload, and the memory then."""

    before: Load
    overload: Load
    after: Load
    memory_mb: float

    @property
    def steady(self) -> bool:
        """Whether the machine was as fast after it as before, and its host left us its cores."""
        rates = self.before.on_all(available_cores()), self.after.on_all(available_cores())
        stolen = max(each.stolen for each in (self.before, self.overload, self.after))
        return max(rates) <= STEADY * min(rates) and stolen <= STOLEN

    @property
    def most(self) -> float:
        """What is answered around it, on all cores."""
        return statistics.mean(each.on_all(available_cores()) for each in (self.before, self.after))

    @property
    def offered(self) -> float:
        """Requests a second."""
        return len(self.overload.answers) / self.overload.seconds

    @property
    def goodput(self) -> float:
        """Of `most`."""
        return self.overload.on_all(available_cores()) / self.most


def run(*, quick: bool) -> Section:
    segment = segmenter()
    images = samples(segment, photos([ONE_MEGAPIXEL]))
    seconds = 6.0 if quick else 60.0
    with service(request_timeout_s=DEADLINE_S) as server:
        load(server.url, images, connections=CLIENTS, seconds=2 if quick else 10)
        memory = server.memory_mb()
        rounds = [a_round(server, images, seconds, at_most(server, images, seconds))]
        while not quick and sum(each.steady for each in rounds) < ROUNDS and len(rounds) < MOST_ROUNDS:
            rounds.append(a_round(server, images, seconds, rounds[-1].after))
    return Section("Overload", TEXT, *told(rounds, memory))


def a_round(server: Server, images: list[Sample], seconds: float, before: Load) -> Round:
    found = overload(server, images, before.on_all(available_cores()), seconds)
    memory = server.memory_mb()
    return Round(before, found, at_most(server, images, seconds), memory)


def at_most(server: Server, images: list[Sample], seconds: float) -> Load:
    """What `CLIENTS` are answered."""
    return load(server.url, images, connections=CLIENTS, seconds=seconds / 3).checked()


def overload(server: Server, images: list[Sample], rate: float, seconds: float) -> Load:
    """Offers `TIMES` this rate and somewhat more."""
    # those that pause, and those that wait for about half the deadline (Little's law)
    clients = round(MARGIN * TIMES * rate * PAUSE_S + rate * DEADLINE_S / 2)
    return load(server.url, images, connections=clients, seconds=seconds, pause_ms=1000 * PAUSE_S)


def told(rounds: list[Round], memory: float) -> tuple[list[Row], list[Ratio]]:
    """Rows and ratios; of times in which the machine changed, what is offered and goodput are left out."""
    counted = [each for each in rounds if each.steady] or rounds
    found, best = [each.overload for each in rounds], [rounds[0].before, *(each.after for each in rounds)]
    accepted, refused = ([ms for each in found for ms in each.milliseconds(status)] for status in (200, 503))
    late = sum(ms > DEADLINE_S * 1000 for ms in accepted) + sum(len(each.milliseconds(504)) for each in found)
    answers = [answer for each in found for answer in each.answers]
    others = sum(answer.status not in (200, 503) for answer in answers)
    grown = [each.memory_mb for each in rounds]
    rows = [
        Row.of(f"answered by {CLIENTS} clients, before and after", [each.rate for each in best], "images/s"),
        Row.of("offered", [each.offered for each in counted], "images/s"),
        Row.of("goodput", [each.overload.rate for each in counted], "images/s"),
        Row.of("times in which the machine changed", [len(rounds) - sum(each.steady for each in rounds)], f"of {len(rounds)}"),
        Row("accepted", percentile(accepted, 50), min(accepted, default=0), max(accepted, default=0), "ms"),
        Row("refused", percentile(refused, 50), min(refused, default=0), max(refused, default=0), "ms"),
        Row.of("answers with another status than 200 and 503", [others], f"of {len(answers)}"),
        Row.of("memory, before", [memory], "MB"),
        Row.of("memory, after each overload", grown, "MB"),
        Row.of("CPU time of wrk", [100 * each.cores for each in found], "% of a core"),
        Row.of("CPU time that the host took", [100 * each.stolen for each in [*found, *best]], "% of a core"),
    ]
    ratios = [
        Ratio("offered / the most that is answered", min(each.offered / each.most for each in counted), at_least=TIMES),
        Ratio("goodput / the most that is answered", statistics.median(each.goodput for each in counted), at_least=0.95),
        Ratio("accepted requests past their deadline", late, at_most=0),
        Ratio("median of a refusal / of an answer", percentile(refused, 50) / percentile(accepted, 50), at_most=0.1),
        Ratio("memory after the last two overloads / after the first two", _growth(grown), at_most=1.05),
        Ratio("wrong answers", sum(each.wrong for each in found), at_most=0),
        Ratio("broken connections and timeouts", sum(each.errors for each in found), at_most=0),
    ]
    return rows, ratios


def _growth(memory: list[float]) -> float:
    return statistics.mean(memory[-2:]) / statistics.mean(memory[:2])
