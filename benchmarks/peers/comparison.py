"""Our service against other frameworks that hold the same `Segmenter`: same weights, machine and images, a mix of sizes."""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random

import httpx
import numpy as np
from PIL import Image

from benchmarks.harness.images import command_line, photos, samples
from benchmarks.harness.load import Load, Sample, load
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import Server, free_port, service, started

CLIENTS = 16
OURS = "fcn-segment"
SIZES = ((320, 240), (500, 375), (640, 480), (375, 500), (1024, 768), (1152, 864), (1600, 1200))
AGREEMENT = 0.999  # share of pixels: with another number of threads sums are rounded otherwise
TRIES = 3
TEXT = f"""\
{CLIENTS} clients of wrk post JPEGs of {len(SIZES)} sizes from 320x240 to 1600x1200 and take masks. LitServe, BentoML and Ray
Serve hold our `Segmenter`, from the file's bytes to the mask's, in a worker for each core with one thread each, as their
documentation advises (`benchmarks/peers/`); our service has its default settings. In each round servers are measured one after
the other in a random order, and are stopped while others are; each has time to end what its warm-up left before it is measured.
Each mask was compared with `fcn-segment`'s before the load, and byte by byte with that one under it. p99 is wrk's, over all
answers of a load. Memory is the proportional set size of all processes."""


@dataclass(frozen=True)
class Peer:
    """A server that `python -m MODULE --port N` starts on 127.0.0.1, and that ends with its children on SIGTERM.

    ready: a path that answers 200 to GET once it serves. Images are posted to `/segment` as the body.
    """

    name: str
    package: str
    module: str
    ready: str


PEERS = (
    Peer("LitServe", "litserve", "benchmarks.peers.litserve_server", "/health"),
    Peer("BentoML", "bentoml", "benchmarks.peers.bentoml_server", "/readyz"),
    Peer("Ray Serve", "ray.serve", "benchmarks.peers.ray_server", "/health"),
)


@dataclass(frozen=True)
class Contender:
    """A server, stopped while others are measured, and what it is asked."""

    name: str
    server: Server
    images: list[Sample]

    def measured(self, seconds: float, clients: int) -> Load:
        """What came of a load, after a short one that is not counted. Raises `RuntimeError` where an answer was wrong."""
        self.server.resume()
        for _ in range(TRIES):
            load(self.server.url, self.images, connections=clients, seconds=seconds / 3)
            time.sleep(seconds / 3)  # not every server drops the requests of clients that have gone
            found = load(self.server.url, self.images, connections=clients, seconds=seconds)
            if found.answers:  # a server that still works on its warm-up may give none
                break
        time.sleep(seconds / 3)
        self.server.pause()
        return found.checked()


def run(*, quick: bool, python: str) -> Section:
    """The service against those frameworks that are installed in this Python's environment; `RuntimeError` where none is."""
    images = samples(command_line(), photos(SIZES[:2] if quick else SIZES))
    rounds, seconds, clients = (1, 3.0, 2) if quick else (6, 10.0, CLIENTS)
    peers = [peer for peer in PEERS if installed(peer, python)]
    if not peers:
        raise RuntimeError(f"none of {', '.join(peer.name for peer in PEERS)} is installed in {python}")
    with ExitStack() as stack:
        contenders = [stack.enter_context(_ours(images))]
        contenders += [stack.enter_context(_peer(peer, python, images)) for peer in peers]
        found: dict[str, list[Load]] = {each.name: [] for each in contenders}
        for number in range(rounds):
            for each in Random(number).sample(contenders, len(contenders)):
                found[each.name].append(each.measured(seconds, clients))
        memory = [Row.of(f"{each.name}, memory", [each.server.memory_mb()], "MB") for each in contenders]
    return Section("Other frameworks", TEXT, [*_rows(found), *memory], ratios(found))


def _rows(found: Mapping[str, Sequence[Load]]) -> list[Row]:
    rows = [Row.of(name, [each.rate for each in loads], "images/s") for name, loads in found.items()]
    rows += [Row.of(f"{name}, p99", [each.p99 for each in loads], "ms") for name, loads in found.items()]
    cpu = [100 * each.cores for loads in found.values() for each in loads]
    return [*rows, Row.of("CPU time of wrk", cpu, "% of a core")]


def ratios(found: Mapping[str, Sequence[Load]]) -> list[Ratio]:
    """Medians over the rounds, each of which compares what was measured right after one another."""
    given = []
    for name in [name for name in found if name != OURS]:
        pairs = list(zip(found[OURS], found[name], strict=True))
        faster = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
        sooner = statistics.median(theirs.p99 / ours.p99 for ours, theirs in pairs)
        given.append(Ratio(f"throughput, ours / {name}", faster, at_least=1.0))
        given.append(Ratio(f"p99, {name} / ours", sooner, at_least=1.0))
    return given


def installed(peer: Peer, python: str) -> bool:
    """Whether the environment has what this peer needs; says where it has not."""
    result = subprocess.run([python, "-c", f"import {peer.package}"], capture_output=True, check=False)
    if result.returncode:
        print(f"fcn-bench: {peer.name} is not installed in {python}; see benchmarks/peers/README.md", file=sys.stderr)
    return not result.returncode


@contextmanager
def _ours(images: list[Sample]) -> Iterator[Contender]:
    with service() as server:
        server.pause()
        yield Contender(OURS, server, images)


@contextmanager
def _peer(peer: Peer, python: str, images: list[Sample]) -> Iterator[Contender]:
    port = free_port()
    with started([python, "-m", peer.module, "--port", str(port)], port, peer.ready) as server:
        own = [replace(sample, expected=_answered(peer, server.url, sample)) for sample in images]
        server.pause()
        yield Contender(peer.name, server, own)


def _answered(peer: Peer, url: str, sample: Sample) -> bytes:
    """The peer's mask; raises `RuntimeError` where that is not the image's."""
    assert sample.expected is not None
    headers = {"Content-Type": sample.content_type}
    answer = httpx.post(f"{url}/segment", content=sample.body, headers=headers, timeout=120).raise_for_status().content
    theirs, ours = (np.asarray(Image.open(io.BytesIO(data))) for data in (answer, sample.expected))
    if theirs.shape != ours.shape or (theirs == ours).mean() < AGREEMENT:
        raise RuntimeError(f"{peer.name} answered another mask than fcn-segment")
    return answer
