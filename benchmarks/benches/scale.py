"""Compares the queueing simulation with the service at three loads, and simulates larger machines and fleets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.harness.images import ONE_MEGAPIXEL, command_line, photos, samples
from benchmarks.harness.load import Load, Sample, load, percentile
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import Server, service
from benchmarks.studies.queueing import STAGES, Costs, Request, closed_load, least_connections, open_load, round_robin
from model.inference.cores import available_cores

SHARES = (0.3, 0.6, 0.9)  # of the highest rate, which the clients would ask for if answers took no time
PAUSE_S = 1.0  # mean pause of a client between two requests
FLEET = 16  # machines
LOAD_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95)  # shares of a fleet's highest rate
REQUESTS = 40_000
CORES = (2, 8, 16, 64)
MOST_ERROR = 1.3
PERCENTILES = {"median": 50, "99th percentile": 99}
TEXT = f"""\
Masks of JPEGs of one megapixel, default settings. The CPU time of an image in the event loop, in the workers and in the
network is measured with one client that sends requests without a pause. The simulation (`benchmarks/studies/queueing.py`)
knows only these three numbers. Then the service and the simulation both have clients that pause for {PAUSE_S:g} s on average
between requests. The number of clients is such that they would send 30, 60 and 90 % of the highest rate. wrk runs on the
same cores, and the simulation leaves it out. The last rows are simulated machines with more cores, and {FLEET} simulated
machines of {{cores}} cores behind a load balancer, whose requests arrive at random (Poisson). The spread of the measured and
simulated times is from the 10th to the 90th percentile."""


def run(*, quick: bool) -> Section:
    images = samples(command_line(), photos([ONE_MEGAPIXEL]))
    seconds = 2.0 if quick else 30.0
    rows: list[Row] = []
    ratios: list[Ratio] = []
    with service() as server:
        load(server.url, images, connections=4, seconds=2 if quick else 10)
        costs = measured_costs(server, images, seconds)
        cpu_ms = {stage: 1000 * getattr(costs, stage) for stage in STAGES}
        rows += [Row.of(f"CPU time of an image, {stage}", [ms], "ms") for stage, ms in cpu_ms.items()]
        for share in SHARES:
            clients = max(1, round(share * costs.rate * PAUSE_S))
            measurement = load(server.url, images, connections=clients, seconds=seconds, pause_ms=1000 * PAUSE_S).check()
            simulation = closed_load(costs, clients=clients, pause_s=PAUSE_S, seconds=200 if quick else 2000)
            rows += comparison(f"{share:.0%}, {clients} clients", measurement, simulation)
            ratio = statistics.median(measurement.milliseconds()) / (1000 * statistics.median(seconds_of(simulation)))
            ratios.append(Ratio(f"median time, measured / simulated, at {share:.0%}", ratio, 1 / MOST_ERROR, MOST_ERROR))
    return Section("Scale", TEXT.format(cores=costs.cores), rows + larger_machines(costs) + fleets(costs, quick=quick), ratios)


def measured_costs(server: Server, images: list[Sample], seconds: float) -> Costs:
    """The CPU time of an image in each stage, with one client."""
    loop, (front, workers) = server.main_thread_seconds(), server.process_seconds()
    count = len(load(server.url, images, connections=1, seconds=seconds).check().answers)
    loop_after, (front_after, workers_after) = server.main_thread_seconds(), server.process_seconds()
    loop_seconds = loop_after - loop
    return Costs(
        loop=loop_seconds / count,
        worker=(workers_after - workers) / count,
        network=(front_after - front - loop_seconds) / count,
        cores=available_cores(),
    )


def comparison(name: str, measurement: Load, simulation: Sequence[Request]) -> list[Row]:
    times = {"measured": measurement.milliseconds(), "simulated": [1000 * value for value in seconds_of(simulation)]}
    return [
        Row(f"{name}, {how}", percentile(ms, 50), percentile(ms, 10), percentile(ms, 90), "ms") for how, ms in times.items()
    ]


def larger_machines(costs: Costs) -> list[Row]:
    """The highest rate of machines with more cores of the same kind. The event loop bounds it at last."""
    rates = {cores: Costs(costs.loop, costs.worker, costs.network, cores).rate for cores in CORES}
    return [Row.of(f"{cores} cores, highest rate, simulated", [rate], "images/s") for cores, rate in rates.items()]


def fleets(costs: Costs, *, quick: bool) -> list[Row]:
    """Times of requests to `FLEET` machines behind a load balancer, by the share of their highest rate that is asked for."""
    count, rows = REQUESTS // (20 if quick else 1), []
    for share in LOAD_SHARES:
        rate = share * FLEET * costs.rate
        for balancer in (round_robin, least_connections):
            requests = open_load(costs, machines=FLEET, rate=rate, requests=count, balancer=balancer)
            ms = [1000 * value for value in seconds_of(requests)]
            name = f"{FLEET} machines at {share:.0%}, {balancer.__name__.replace('_', ' ')}, simulated"
            rows += [Row.of(f"{name}, {what}", [percentile(ms, percent)], "ms") for what, percent in PERCENTILES.items()]
    return rows


def seconds_of(requests: Sequence[Request]) -> list[float]:
    """Seconds from arrival to answer."""
    return [request.end - request.start for request in requests]
