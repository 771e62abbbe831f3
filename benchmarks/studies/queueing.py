"""A queueing simulation of machines that segment images: how long requests wait, and how many machines a rate needs.

A machine is `cores` cores. A request passes three stages: the event loop of the front process, a worker process (decoding and
encoding), and the network. Each stage needs a measured amount of CPU time. Cores are shared equally among the stages in
progress (processor sharing; Kleinrock, Queueing Systems II, 1976, section 4.4), with these limits:

- the event loop runs one request at a time, on one core;
- a worker uses one core;
- a tile uses all cores while it is alone in the network, else one core; at most `cores` tiles run at once.

The rest of the network that a real service has is left out: transfer of bytes, memory, batches of a GPU.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

STAGES = ("loop", "worker", "network")


@dataclass(frozen=True)
class Costs:
    """CPU seconds of an image in each stage, and the number of cores that a machine has."""

    loop: float
    worker: float
    network: float
    cores: int

    @property
    def rate(self) -> float:
        """The highest number of images a second: all cores are busy, or the event loop is."""
        return min(self.cores / (self.loop + self.worker + self.network), 1 / self.loop)


@dataclass(eq=False)
class Request:
    """A request on a machine. start, end: seconds. remaining: CPU seconds of its stage that are left."""

    start: float
    client: int = -1
    stage: int = 0
    remaining: float = 0.0
    end: float = 0.0


@dataclass
class Machine:
    """One machine. `requests` are in order of arrival at their stage; `now` is the time up to which it is simulated."""

    costs: Costs
    now: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def arrive(self, request: Request) -> None:
        request.remaining = self.costs.loop
        self.requests.append(request)

    def rates(self) -> list[tuple[Request, float]]:
        """The requests that are served now, each with the number of cores that it has."""
        cores = self.costs.cores
        by_stage: list[list[Request]] = [[], [], []]
        for request in self.requests:
            by_stage[request.stage].append(request)
        loop, workers, network = by_stage[0][:1], by_stage[1], by_stage[2][:cores]
        active = [*loop, *workers, *network]
        if len(active) == 1:
            return [(active[0], float(cores) if network else 1.0)]
        if len(network) == 1:  # it takes what the other stages leave
            others = len(active) - 1
            share = min(1.0, cores / len(active))
            return [(request, share) for request in active[:-1]] + [(network[0], cores - others * share)]
        share = min(1.0, cores / len(active)) if active else 0.0
        return [(request, share) for request in active]

    def next_end(self) -> float:
        """When the next stage of a request ends; infinity if there is no request."""
        return self.now + min((request.remaining / rate for request, rate in self.rates()), default=float("inf"))

    def advance(self, until: float) -> list[Request]:
        """Serves its requests up to this time, at most to the next end of a stage. Returns the requests that are done."""
        seconds, requests = until - self.now, []
        for request, rate in self.rates():
            request.remaining -= rate * seconds
            if request.remaining <= 1e-12:
                self.requests.remove(request)
                request.stage += 1
                if request.stage == len(STAGES):
                    request.end = until
                    requests.append(request)
                else:
                    request.remaining = (self.costs.worker, self.costs.network)[request.stage - 1]
                    self.requests.append(request)
        self.now = until
        return requests


Balancer = Callable[[Sequence[Machine], int], int]
"""Chooses the index of the machine for the request of this number."""


def round_robin(machines: Sequence[Machine], number: int) -> int:
    return number % len(machines)


def least_connections(machines: Sequence[Machine], number: int) -> int:
    """The machine with the fewest requests; the search begins at another machine each time, as HAProxy's `leastconn` does."""
    count = len(machines)
    return min(((number + offset) % count for offset in range(count)), key=lambda index: len(machines[index].requests))


def closed_load(costs: Costs, *, clients: int, pause_s: float, seconds: float, seed: int = 0) -> list[Request]:
    """The requests that one machine answers for clients that pause between an answer and the next request.

    Each pause is uniform between 0 and 2 x `pause_s`, as in `benchmarks/harness/wrk.lua`.
    """
    draw = random.Random(seed)

    def again(client: int, now: float) -> tuple[float, int]:
        return now + draw.uniform(0, 2 * pause_s), client

    starts = [again(client, 0.0) for client in range(clients)]
    return list(_run([Machine(costs)], starts, again, round_robin, seconds))


def open_load(
    costs: Costs, *, machines: int, rate: float, requests: int, balancer: Balancer = least_connections, seed: int = 0
) -> list[Request]:
    """The requests of a fleet whose arrivals are a Poisson process of `rate` requests a second."""
    draw, moment, starts = random.Random(seed), 0.0, []
    for _ in range(requests):
        moment += draw.expovariate(rate)
        starts.append((moment, -1))
    return list(_run([Machine(costs) for _ in range(machines)], starts, None, balancer, float("inf")))


def _run(
    machines: list[Machine],
    starts: list[tuple[float, int]],
    again: Callable[[int, float], tuple[float, int]] | None,
    balancer: Balancer,
    seconds: float,
) -> Iterator[Request]:
    """Yields each request once it is done. starts: (time, client) of arrivals. again: the client's next arrival."""
    heapq.heapify(starts)
    ends = {index: float("inf") for index in range(len(machines))}
    number = 0
    while True:
        index = min(ends, key=ends.__getitem__)
        arrival = starts[0][0] if starts else float("inf")
        moment = min(arrival, ends[index])
        if moment >= min(seconds, 1e18):
            return
        client = None
        if arrival < ends[index]:
            client = heapq.heappop(starts)[1]
            index, number = balancer(machines, number), number + 1
        for request in machines[index].advance(moment):
            if again:
                heapq.heappush(starts, again(request.client, moment))
            yield request
        if client is not None:
            machines[index].arrive(Request(moment, client))
        ends[index] = machines[index].next_end()
