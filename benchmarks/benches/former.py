"""The service of this checkout beside that of a former commit, in turns of one run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.harness.images import ONE_MEGAPIXEL, PHOTOS, photo, photos
from benchmarks.harness.load import Sample, load, percentile, repeated
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT, PeakMemory, Server, checkout_commit, image_variables, service

CLIENTS = 16
LARGE_SIDE = 10_000
SMALL_PAUSE_MS = 50.0
TEXT = """\
This checkout beside one of commit {commit}, by turns on the same cores, each turn in services that are started anew, with the
default weights and settings, and with the variables for glibc that its Dockerfile sets. Images a second: {clients} clients,
JPEGs of one megapixel as masks. The cheap network is the tests' narrow one. Small ones: a lone client's JPEGs of one megapixel
while images of 100 megapixels are worked on. CPU of the event loop: of the process's first thread, an image. Ratios are of
medians, this checkout's by the former one's."""


def run(*, quick: bool, former: Path) -> Section:
    images = photos([ONE_MEGAPIXEL])
    large = photo(PHOTOS[0], (LARGE_SIDE, LARGE_SIDE))
    values: dict[str, dict[str, list[float]]] = {"this": {}, "former": {}}
    with narrow_weights() as narrow:
        for _ in range(1 if quick else 3):
            for name, checkout in (("this", ROOT), ("former", former)):
                for what, value in _turn(checkout, images, large, narrow, 1.0 if quick else 8.0).items():
                    values[name].setdefault(what, []).append(value)
    rows = [
        Row.of(f"{what}, {'this' if name == 'this' else 'the former one'}", values[name][what], unit)
        for what, unit in UNITS.items()
        for name in values
    ]
    medians = {name: {what: statistics.median(each) for what, each in found.items()} for name, found in values.items()}
    ratios = [Ratio(what, medians["this"][what] / medians["former"][what], **aim) for what, aim in AIMS.items()]
    ratios.append(Ratio("this one: memory that 100 megapixels add, in MB", medians["this"]["100 megapixels add"], at_most=1074))
    beside = medians["this"]["p99 of small ones beside them"] / medians["this"]["p99 of small ones alone"]
    ratios.append(Ratio("this one: p99 of small ones beside 100 megapixels, to that alone", beside, at_most=3))
    return Section("Beside a former commit", TEXT.format(commit=checkout_commit(former), clients=CLIENTS), rows, ratios)


UNITS = {
    "images a second": "images/s", "cheap network, images a second": "images/s", "a lone request": "ms",
    "CPU of the event loop": "ms", "start to ready": "s", "idle memory": "MB", "memory, at most": "MB",
    "100 megapixels add": "MB", "p99 of small ones alone": "ms", "p99 of small ones beside them": "ms",
}  # fmt: skip
AIMS: dict[str, dict[str, float]] = {
    "images a second": {"at_least": 0.98},
    "cheap network, images a second": {"at_least": 1.3},
    "a lone request": {"at_most": 1.05},
    "start to ready": {"at_most": 1.3},
}


def _turn(checkout: Path, photographs: list[bytes], large: bytes, narrow: Path, seconds: float) -> dict[str, float]:
    begun = time.perf_counter()
    with service(checkout=checkout, environment=image_variables(checkout)) as server:
        found = {"start to ready": time.perf_counter() - begun, "idle memory": server.memory_mb()}
        images = _answered(server, photographs)
        load(server.url, images, connections=CLIENTS, seconds=min(2.0, seconds))
        with PeakMemory(server) as memory:
            before = server.main_thread_seconds()
            answers = load(server.url, images, connections=CLIENTS, seconds=seconds).checked()
            found["CPU of the event loop"] = 1000 * (server.main_thread_seconds() - before) / answers.good
        found |= {"images a second": answers.rate, "memory, at most": memory.most_mb}
        found["a lone request"] = statistics.median(load(server.url, images, connections=1, seconds=seconds).milliseconds())
    with service(checkout=checkout, environment=image_variables(checkout)) as server:
        images = _answered(server, photographs)
        alone = load(server.url, images, connections=1, seconds=seconds, pause_ms=SMALL_PAUSE_MS).checked()
        with PeakMemory(server) as memory, repeated(lambda: _post(server.url, large)):
            beside = load(server.url, images, connections=1, seconds=seconds, pause_ms=SMALL_PAUSE_MS).checked()
        found |= {"100 megapixels add": memory.risen_mb, "p99 of small ones alone": percentile(alone.milliseconds(), 99)}
        found["p99 of small ones beside them"] = percentile(beside.milliseconds(), 99)
    with service(checkout=checkout, environment=image_variables(checkout), weights=narrow, device="cpu") as server:
        images = _answered(server, photographs)
        load(server.url, images, connections=CLIENTS, seconds=min(2.0, seconds))
        found["cheap network, images a second"] = load(server.url, images, connections=CLIENTS, seconds=seconds).checked().rate
    return found


def _answered(server: Server, photographs: list[bytes]) -> list[Sample]:
    """The photographs with this server's own answers: formers may have answered with other bytes."""
    return [Sample(each, _post(server.url, each)) for each in photographs]


def _post(url: str, image: bytes) -> bytes:
    return httpx.post(f"{url}/segment", content=image, timeout=120).raise_for_status().content


@contextmanager
def narrow_weights() -> Iterator[Path]:
    """The tests' narrow network, whose tiles cost next to nothing."""
    from tests.narrow import write_narrow  # needs PyTorch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "narrow.safetensors"
        write_narrow(path)
        yield path
