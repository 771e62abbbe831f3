"""The queueing simulation against results that are known in closed form."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.studies.queueing import Costs, Request, closed_load, least_connections, open_load, round_robin
from tests.support.variants import long


def times(requests: list[Request]) -> list[float]:
    return [request.end - request.start for request in requests]


def test_a_lone_request_has_all_cores_for_its_network() -> None:
    answered = closed_load(Costs(loop=0.002, worker=0.01, network=0.04, cores=4), clients=1, pause_s=0, seconds=10)
    assert times(answered) == pytest.approx([0.002 + 0.01 + 0.04 / 4] * len(answered))
    assert len(answered) == pytest.approx(10 / 0.022, abs=1)


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_a_crowd_gets_the_highest_rate(cores: int) -> None:
    costs = Costs(loop=0.002, worker=0.01, network=0.04, cores=cores)
    answered = closed_load(costs, clients=8 * cores, pause_s=0, seconds=50)
    assert len(answered) / 50 == pytest.approx(costs.rate, rel=0.03)


def test_many_cores_are_bounded_by_the_event_loop() -> None:
    assert Costs(loop=0.002, worker=0.01, network=0.04, cores=1000).rate == 500


@pytest.mark.parametrize("share", [*long(0.3), 0.6, *long(0.8)])
def test_one_core_that_runs_the_network_alone_is_a_queue_m_d_1(share: float) -> None:
    """The mean time is s + s * share / (2 * (1 - share)) for service times s (Pollaczek-Khinchine)."""
    answered = open_load(Costs(loop=1e-9, worker=1e-9, network=0.01, cores=1), machines=1, rate=share * 100, requests=60_000)
    assert len(answered) == 60_000
    assert statistics.mean(times(answered)) == pytest.approx(0.01 * (1 + share / (2 * (1 - share))), rel=0.05)


def test_every_request_of_a_fleet_is_answered_and_busy_machines_are_avoided() -> None:
    costs = Costs(loop=0.002, worker=0.01, network=0.04, cores=2)
    alone, fleet = (open_load(costs, machines=n, rate=0.9 * n * costs.rate, requests=5_000) for n in (1, 8))
    assert len(alone) == len(fleet) == 5_000
    assert statistics.mean(times(fleet)) < statistics.mean(times(alone)) / 2


@pytest.mark.parametrize("balancer", [round_robin, least_connections])
def test_a_fleet_with_little_to_do_answers_as_a_lone_machine_does(balancer: object) -> None:
    costs = Costs(loop=0.002, worker=0.01, network=0.04, cores=2)
    answered = open_load(costs, machines=4, rate=0.01 * costs.rate, requests=300, balancer=balancer)  # type: ignore[arg-type]
    assert statistics.median(times(answered)) == pytest.approx(0.032)
