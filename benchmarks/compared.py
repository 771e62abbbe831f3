"""Our service against other ways to serve the same network: same weights, machine and images, a mix of sizes."""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

import httpx
import numpy as np
from PIL import Image

from benchmarks.images import MIX, photos, samples, segmenter
from benchmarks.load import Load, Sample, load
from benchmarks.peers import PEERS, Peer
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import Server, free_port, service, started

CLIENTS = 16
OURS = "fcn-segment"
LEAST_AGREEMENT = 0.9  # of a peer whose masks may differ: it works in float32, and on the image without a tile around it
TEXT = f"""\
{CLIENTS} clients of wrk post JPEGs of {len(MIX)} sizes from 320x240 to 1600x1200 and take masks. LitServe, BentoML and Ray
Serve run our predictor in its dtype, set up as their documentation advises (`benchmarks/peers/`); their masks were compared
byte by byte. The tutorial's server is FastAPI with a float32 network called in the handler. Servers take turns in a
random order, and are stopped while others have theirs; each has 3 s to end what its warm-up left before it is measured. p99
is wrk's, over all answers of a turn."""


def run(*, quick: bool, python: str) -> Section:
    images = samples(segmenter(), photos(MIX[:2] if quick else MIX))
    turns, seconds, clients = (1, 3.0, 2) if quick else (6, 10.0, CLIENTS)
    peers = [peer for peer in PEERS if installed(peer, python)]
    with ExitStack() as stack:
        asked = [stack.enter_context(_ours(images))]
        asked += [stack.enter_context(_peer(peer, python, images)) for peer in peers]
        found: dict[str, list[Load]] = {each.name: [] for each in asked}
        for turn in range(turns):
            for each in Random(turn).sample(asked, len(asked)):
                found[each.name].append(each.measured(seconds, clients))
    rates = {name: [each.answered for each in loads] for name, loads in found.items()}
    slowest = {name: [each.p99 for each in loads] for name, loads in found.items()}
    rows = [Row.of(name, values, "images/s") for name, values in rates.items()]
    rows += [Row.of(f"{name}, p99", values, "ms") for name, values in slowest.items()]
    cpu = [100 * each.cores for loads in found.values() for each in loads]
    rows.append(Row.of("CPU time of wrk", cpu, "% of a core"))
    ratios = []
    for peer in peers:
        ratios.append(
            Ratio(f"throughput, ours / {peer.name}", ratio(rates[OURS], rates[peer.name]), 1.0 if peer.exact else 2.0)
        )
        slower = 1.2 if peer.exact else None
        ratios.append(Ratio(f"p99, {peer.name} / ours", ratio(slowest[peer.name], slowest[OURS]), slower))
    return Section("Other ways to serve it", TEXT, rows, ratios)


def ratio(ones: list[float], others: list[float]) -> float:
    """The median over the turns."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def installed(peer: Peer, python: str) -> bool:
    """Whether the environment has what this peer needs."""
    result = subprocess.run([python, "-c", f"import {peer.module}"], capture_output=True, check=False)
    if result.returncode:
        print(f"fcn-bench: {peer.name} is not installed in {python}; see benchmarks/peers/README.md", file=sys.stderr)
    return not result.returncode


@dataclass(frozen=True)
class Asked:
    """A server, stopped while others are measured, and what it is asked."""

    name: str
    server: Server
    images: list[Sample]
    path: str = "/segment"
    exact: bool = True

    def measured(self, seconds: float, clients: int) -> Load:
        """What came of a load, after a short one that is not counted. Raises `RuntimeError` where an answer was wrong."""
        warming = max(1, seconds / 3)
        self.server.resume()
        load(self.server.url, self.images, connections=clients, seconds=warming, path=self.path)
        time.sleep(warming)  # not every server drops the requests of clients that have gone
        found = load(self.server.url, self.images, connections=clients, seconds=seconds, path=self.path)
        time.sleep(warming)
        self.server.pause()
        failed = sum(answer.status != 200 for answer in found.answers)
        if found.errors or failed or (self.exact and found.wrong) or not found.answered:
            raise RuntimeError(f"{self.name}: {found.wrong} wrong answers, {failed} failures, {found.errors} errors")
        return found


@contextmanager
def _ours(images: list[Sample]) -> Iterator[Asked]:
    with service() as server:
        server.pause()
        yield Asked(OURS, server, images)


@contextmanager
def _peer(peer: Peer, python: str, images: list[Sample]) -> Iterator[Asked]:
    port = free_port()
    with started([python, "-m", peer.module, "--port", str(port)], port, peer.ready) as server:
        wrapped = []
        for sample in images:
            body, content_type = peer.wrap(sample.body)
            wrapped.append(Sample(body, sample.expected, content_type))
            _check(peer, server.url, wrapped[-1])
        server.pause()
        yield Asked(peer.name, server, wrapped, peer.path, peer.exact)


def _check(peer: Peer, url: str, sample: Sample) -> None:
    """Raises `RuntimeError` where the peer's mask is not the image's."""
    answer = httpx.post(url + peer.path, content=sample.body, headers={"Content-Type": sample.content_type}, timeout=120)
    answer.raise_for_status()
    assert sample.expected is not None
    if peer.exact and answer.content != sample.expected:
        raise RuntimeError(f"{peer.name} answered other bytes than fcn-segment")
    found, expected = (np.asarray(Image.open(io.BytesIO(data))) for data in (answer.content, sample.expected))
    if found.shape != expected.shape or (found == expected).mean() < LEAST_AGREEMENT:
        raise RuntimeError(f"{peer.name} answered another mask than fcn-segment")
