"""Compares our service with other frameworks around the same `Segmenter`: same weights, machine and images of mixed sizes."""

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
from benchmarks.harness.serving import Server, free_port, service, start_server
from benchmarks.peers.worker import PLAIN

CLIENTS = 16
OURS = "fcn-segment"
SIZES = ((320, 240), (500, 375), (640, 480), (375, 500), (1024, 768), (1152, 864), (1600, 1200))
AGREEMENT = 0.999  # least share of equal pixels: with another number of threads, sums are rounded differently
PLAIN_AGREEMENT = 0.6  # in float32, and scaled to multiples of 32 by another filter: a cup fills one photo, and is of no class
TRIES = 3  # loads until one has answers
TEXT = f"""\
{CLIENTS} clients of wrk post JPEGs of {len(SIZES)} sizes from 320x240 to 1600x1200 and get masks. LitServe, BentoML and Ray
Serve run our `Segmenter`, from the file's bytes to the mask's, in a worker with one thread for each core, as their
documentation advises (`benchmarks/peers/`). *Plain* is what their documentation shows first: one worker, and in it the float32
network in ONNX Runtime, Pillow, and argmax at the photo's size, without tiles, limits or another process for hostile files.
In each round, the servers are measured in random order, each alone. Before the
load, each server's masks were compared with those of `fcn-segment`, under load each answer with the server's own earlier mask.
p99 is wrk's. Memory is the proportional set size of all processes."""


@dataclass(frozen=True)
class Peer:
    """A framework's server. `python -m MODULE --port N` starts it on 127.0.0.1; on SIGTERM it ends with its children.

    package: the import that it needs. ready: a path that answers GET with 200 once the server is ready. Images are posted to
    `/segment` as the body. is_plain: whether its worker is `PlainWorker`.
    """

    name: str
    package: str
    module: str
    ready: str
    is_plain: bool = False


SERVERS = (
    Peer("LitServe", "litserve", "benchmarks.peers.litserve_server", "/health"),
    Peer("BentoML", "bentoml", "benchmarks.peers.bentoml_server", "/readyz"),
    Peer("Ray Serve", "ray.serve", "benchmarks.peers.ray_server", "/health"),
)
PEERS = (*SERVERS, *(replace(peer, name=f"{peer.name}, plain", is_plain=True) for peer in SERVERS))


@dataclass(frozen=True)
class Contender:
    """A server, which is stopped while others are measured, and the images to post to it."""

    name: str
    server: Server
    images: list[Sample]

    def measure(self, seconds: float, clients: int) -> Load:
        """The result of a load, after a short warm-up load. Raises `RuntimeError` if an answer was wrong or none came."""
        self.server.resume()
        for _ in range(TRIES):
            load(self.server.url, self.images, connections=clients, seconds=seconds / 3)
            time.sleep(seconds / 3)  # some servers still work on requests of clients that have gone
            result = load(self.server.url, self.images, connections=clients, seconds=seconds)
            if result.answers:  # there are none if the server still works on the warm-up
                break
        time.sleep(seconds / 3)
        self.server.pause()
        return result.check()


def run(*, quick: bool, python: str) -> Section:
    """Compares the service with the frameworks in the environment of `python`; raises `RuntimeError` if there are none."""
    images = samples(command_line(), photos(SIZES[:2] if quick else SIZES))
    rounds, seconds, clients = (1, 3.0, 2) if quick else (6, 10.0, CLIENTS)
    peers = [peer for peer in PEERS if has_package(peer, python)]
    if not peers:
        raise RuntimeError(f"none of {', '.join(peer.name for peer in PEERS)} is installed in {python}")
    with ExitStack() as stack:
        contenders = [stack.enter_context(_ours(images))]
        contenders += [stack.enter_context(_peer(peer, python, images)) for peer in peers]
        loads_by_name: dict[str, list[Load]] = {contender.name: [] for contender in contenders}
        for number in range(rounds):
            for contender in Random(number).sample(contenders, len(contenders)):
                loads_by_name[contender.name].append(contender.measure(seconds, clients))
        memory = [Row.of(f"{contender.name}, memory", [contender.server.memory_mb()], "MB") for contender in contenders]
    return Section("Other frameworks", TEXT, [*_rows(loads_by_name), *memory], ratios(loads_by_name))


def _rows(loads_by_name: Mapping[str, Sequence[Load]]) -> list[Row]:
    rows = [Row.of(name, [each.rate for each in loads], "images/s") for name, loads in loads_by_name.items()]
    rows += [Row.of(f"{name}, p99", [each.p99 for each in loads], "ms") for name, loads in loads_by_name.items()]
    cpu = [100 * each.cores for loads in loads_by_name.values() for each in loads]
    return [*rows, Row.of("CPU time of wrk", cpu, "% of a core")]


def ratios(loads_by_name: Mapping[str, Sequence[Load]]) -> list[Ratio]:
    """Our service compared with each framework: medians, over the rounds, of the ratios within a round."""
    comparisons = []
    for name in [name for name in loads_by_name if name != OURS]:
        pairs = list(zip(loads_by_name[OURS], loads_by_name[name], strict=True))
        speedup = statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)
        p99_ratio = statistics.median(theirs.p99 / ours.p99 for ours, theirs in pairs)
        comparisons.append(Ratio(f"throughput, ours / {name}", speedup, at_least=1.0))
        comparisons.append(Ratio(f"p99, {name} / ours", p99_ratio, at_least=1.0))
    return comparisons


def has_package(peer: Peer, python: str) -> bool:
    """Whether the environment of `python` has the peer's package; prints a line if it has not."""
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
    variables = {PLAIN: "1"} if peer.is_plain else {}
    with start_server([python, "-m", peer.module, "--port", str(port)], port, peer.ready, variables) as server:
        peer_samples = [replace(sample, answer=_checked_answer(peer, server.url, sample)) for sample in images]
        server.pause()
        yield Contender(peer.name, server, peer_samples)


def _checked_answer(peer: Peer, url: str, sample: Sample) -> bytes:
    """The peer's mask; raises `RuntimeError` if it differs from the expected one in more pixels than `AGREEMENT` allows."""
    assert sample.answer is not None
    headers = {"Content-Type": sample.content_type}
    answer = httpx.post(f"{url}/segment", content=sample.body, headers=headers, timeout=120).raise_for_status().content
    theirs, ours = (np.asarray(Image.open(io.BytesIO(data))) for data in (answer, sample.answer))
    if theirs.shape != ours.shape or (theirs == ours).mean() < (PLAIN_AGREEMENT if peer.is_plain else AGREEMENT):
        raise RuntimeError(f"{peer.name} answered another mask than fcn-segment")
    return answer
