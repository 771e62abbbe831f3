"""Our service against other ways to serve the same network: same weights, machine and images, a mix of sizes."""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

import httpx
import numpy as np
from PIL import Image

from benchmarks.images import MIX, photos, samples, segmenter
from benchmarks.load import Load, Sample, load
from benchmarks.peers import LENT, PEERS, TUTORIAL, Peer
from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import Server, free_port, service, started

CLIENTS = 16
OURS = "fcn-segment"
PATIENCE = 3  # turns
HOW = """\
Servers take turns in a random order, and are stopped while others have theirs; each has 3 s to end what its warm-up left
before it is measured. Each mask was compared with ours pixel by pixel before the load, and byte by byte with that one under
it. p99 is wrk's, over all answers of a turn; a turn in which a server gives no answer at all is repeated."""
TEXT = f"""\
{CLIENTS} clients of wrk post JPEGs of {len(MIX)} sizes from 320x240 to 1600x1200 and take masks. LitServe, BentoML and Ray
Serve run our predictor in its dtype (all of `model/`: scaling, tiles, network, merging, argmax), set up as their documentation
advises, with Pillow to decode and encode as in their examples with images (`benchmarks/peers/`). The tutorial's server is
FastAPI with a float32 network called in the handler.
{HOW}"""
LENT_TEXT = f"""\
The same frameworks, lent our decoding and encoding as well: nothing differs but who hands images to whom.
{HOW}"""


def run(*, quick: bool, python: str) -> Section:
    """The service against others that hold our predictor, and against the tutorial's."""
    found = _measured(PEERS, quick=quick, python=python)
    return Section("Other ways to serve it", TEXT, _rows(found), _ratios(found, PEERS))


def run_lent(*, quick: bool, python: str) -> Section | None:
    """The service against others that hold all of its corridor; None where none of them is installed."""
    found = _measured(LENT, quick=quick, python=python)
    if len(found) == 1:
        return None
    return Section("Other ways to serve all of it", LENT_TEXT, _rows(found), _ratios(found, LENT))


def _measured(peers: Sequence[Peer], *, quick: bool, python: str) -> dict[str, list[Load]]:
    """Turns of our service and of the peers that are installed, by name."""
    images = samples(segmenter(), photos(MIX[:2] if quick else MIX))
    turns, seconds, clients = (1, 3.0, 2) if quick else (6, 10.0, CLIENTS)
    there = [peer for peer in peers if installed(peer, python)]
    with ExitStack() as stack:
        asked = [stack.enter_context(_ours(images))]
        asked += [stack.enter_context(_peer(peer, python, images)) for peer in there]
        found: dict[str, list[Load]] = {each.name: [] for each in asked}
        for turn in range(turns):
            for each in Random(turn).sample(asked, len(asked)):
                found[each.name].append(_answered(each, seconds, clients))
    return found


def _answered(asked: Asked, seconds: float, clients: int) -> Load:
    """A turn with answers: a server that still works on its warm-up may give none. Raises `RuntimeError` after some without."""
    for _ in range(PATIENCE):
        if (found := asked.measured(seconds, clients)).answered:
            return found
    raise RuntimeError(f"{asked.name}: no answer in {PATIENCE} turns of {seconds:g} s")


def _rows(found: Mapping[str, Sequence[Load]]) -> list[Row]:
    rows = [Row.of(name, [each.answered for each in loads], "images/s") for name, loads in found.items()]
    rows += [Row.of(f"{name}, p99", [each.p99 for each in loads], "ms") for name, loads in found.items()]
    cpu = [100 * each.cores for loads in found.values() for each in loads]
    return [*rows, Row.of("CPU time of wrk", cpu, "% of a core")]


def _ratios(found: Mapping[str, Sequence[Load]], peers: Sequence[Peer]) -> list[Ratio]:
    rates = {name: [each.answered for each in loads] for name, loads in found.items()}
    slowest = {name: [each.p99 for each in loads] for name, loads in found.items()}
    ratios = []
    for peer in peers:
        if peer.name in found:
            faster, sooner = aims(peer)
            ratios.append(Ratio(f"throughput, ours / {peer.name}", ratio(rates[OURS], rates[peer.name]), faster))
            ratios.append(Ratio(f"p99, {peer.name} / ours", ratio(slowest[peer.name], slowest[OURS]), sooner))
    return ratios


def aims(peer: Peer) -> tuple[float | None, float | None]:
    """The least ratios of throughput and of p99; none of a server that is lent more than the predictor."""
    if peer == TUTORIAL:
        return 2.0, None
    return (None, None) if peer.imaging else (1.0, 1.2)


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
        if found.errors or failed or found.wrong:
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
    command = [python, "-m", peer.module, "--port", str(port)]
    with started(command, port, peer.ready, peer.variables) as server:
        wrapped = []
        for sample in images:
            body, content_type = peer.wrap(sample.body)
            wrapped.append(Sample(body, _checked(peer, server.url, body, content_type, sample.expected), content_type))
        server.pause()
        yield Asked(peer.name, server, wrapped, peer.path)


def _checked(peer: Peer, url: str, body: bytes, content_type: str, expected: bytes | None) -> bytes:
    """The peer's mask; raises `RuntimeError` where that is not the image's."""
    assert expected is not None
    answer = httpx.post(url + peer.path, content=body, headers={"Content-Type": content_type}, timeout=120)
    answer.raise_for_status()
    if peer.imaging and answer.content != expected:
        raise RuntimeError(f"{peer.name} answered other bytes than fcn-segment")
    found, mask = (np.asarray(Image.open(io.BytesIO(data))) for data in (answer.content, expected))
    if found.shape != mask.shape or (found == mask).mean() < peer.agreement:
        raise RuntimeError(f"{peer.name} answered another mask than fcn-segment")
    return answer.content
