"""Four times what the service can do: what is answered, what is refused, and how soon."""

from __future__ import annotations

import statistics

from benchmarks.images import ONE_MEGAPIXEL, photos, samples, segmenter
from benchmarks.load import Load, Sample, load, percentile
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import Server, service
from model.device import available_cores

DEADLINE_S = 5
TIMES = 4
MARGIN = 1.1  # the rate that was answered varies, and at least so many times as much is to be offered
TEXT = f"""\
Images of one megapixel, default settings but a deadline of {DEADLINE_S} s. First as many as are answered, by 16 clients; then
at least {TIMES} times as many are offered for a minute, by clients that pause between requests. A refusal is a 503 with
`Retry-After`; goodput counts right masks alone, and its ratio is to what is answered on the cores that wrk leaves.
Memory is the process's proportional set size."""


def run(*, quick: bool) -> Section:
    segment = segmenter()
    images = samples(segment, photos([ONE_MEGAPIXEL]))
    seconds = 3.0 if quick else 60.0
    deadline = 1 if quick else DEADLINE_S
    with service(request_timeout_s=deadline) as server:
        load(server.url, images, connections=16, seconds=2 if quick else 10)
        before = load(server.url, images, connections=16, seconds=seconds / 3).rate
        first, found, last = overloaded(server, images, before, seconds)
        after = load(server.url, images, connections=16, seconds=seconds / 3).rate
    best = statistics.mean([before, after])
    accepted, refused = found.milliseconds(200), found.milliseconds(503)
    left = 1 - found.cpu_seconds / found.seconds / available_cores()
    late = sum(ms > deadline * 1000 for ms in accepted) + len(found.milliseconds(504))
    rows = [
        Row.of("answered by 16 clients, before and after", [before, after], "images/s"),
        Row.of("offered", [len(found.answers) / found.seconds], "images/s"),
        Row.of("goodput", [found.rate], "images/s"),
        Row("accepted", percentile(accepted, 50), min(accepted, default=0), max(accepted, default=0), "ms"),
        Row("refused", percentile(refused, 50), percentile(refused, 1), percentile(refused, 99), "ms"),
        Row.of("answers with another status than 200 and 503", [_others(found)], "of " + str(len(found.answers))),
        Row.of("memory, after a third and at the end", [first, last], "MB"),
        Row.of("CPU time of wrk", [100 * found.cpu_seconds / found.seconds], "% of a core"),
    ]
    ratios = [
        Ratio("offered / the most that is answered", len(found.answers) / found.seconds / best, at_least=TIMES),
        Ratio("goodput / the most that is answered", found.rate / best / left, at_least=0.95),
        Ratio("accepted requests past their deadline", late, at_most=0),
        Ratio("median of a refusal / of an answer", percentile(refused, 50) / percentile(accepted, 50), at_most=0.1),
        Ratio("memory at the end / after a third", last / first, at_most=1.05),
        Ratio("wrong answers", found.wrong, at_most=0),
    ]
    return Section("Overload", TEXT, rows, ratios)


def overloaded(server: Server, images: list[Sample], rate: float, seconds: float) -> tuple[float, Load, float]:
    """Memory after a third, the load, and memory at its end."""
    clients = round(TIMES * rate * DEADLINE_S * 1.5)
    # one client in TIMES is accepted, and asks the later for its wait of up to the deadline
    pause = 1000 * (clients / (MARGIN * TIMES * rate) - DEADLINE_S / TIMES)
    load(server.url, images, connections=clients, seconds=seconds / 3, pause_ms=pause)
    first = server.memory_mb()
    found = load(server.url, images, connections=clients, seconds=seconds, pause_ms=pause)
    return first, found, server.memory_mb()


def _others(found: Load) -> int:
    return sum(answer.status not in (200, 503) for answer in found.answers)
