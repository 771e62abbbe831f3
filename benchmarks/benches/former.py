"""Compares the service of this checkout with that of a former commit, in alternate turns of one run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.load import Sample, load
from benchmarks.harness.processor_time import ProcessorTime
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT, PeakMemory, Server, checkout_commit, service

CLIENTS = 16
TEXT = """\
This checkout and one of commit {commit} take turns on the same cores; each turn starts the services anew. Images a second:
{clients} clients post JPEGs of one megapixel and get masks. The cheap network has a tenth of the channels of a MobileNetV2. CPU
of the event loop: of the process's first thread, for an image. Ratios divide this checkout's median by the former one's."""


def run(*, quick: bool, former: Path) -> Section:
    images = photos([ONE_MEGAPIXEL])
    values: dict[str, dict[str, list[float]]] = {"this": {}, "former": {}}
    with narrow_weights() as narrow:
        for _ in range(1 if quick else 3):
            for name, checkout in (("this", ROOT), ("former", former)):
                for figure, value in _turn(checkout, images, narrow, 1.0 if quick else 8.0).items():
                    values[name].setdefault(figure, []).append(value)
    rows = [Row.of(f"{figure}, {name}", values[name][figure], unit) for figure, unit in UNITS.items() for name in values]
    medians = {
        name: {figure: statistics.median(numbers) for figure, numbers in figures.items()} for name, figures in values.items()
    }
    ratios = [Ratio(figure, medians["this"][figure] / medians["former"][figure], **aim) for figure, aim in AIMS.items()]
    return Section("Beside a former commit", TEXT.format(commit=checkout_commit(former), clients=CLIENTS), rows, ratios)


UNITS = {
    "images a second": "images/s", "cheap network, images a second": "images/s", "a lone request": "ms",
    "CPU of the event loop": "ms", "start to ready": "s", "idle memory": "MB", "memory, at most": "MB",
}  # fmt: skip
AIMS: dict[str, dict[str, float]] = {
    "images a second": {"at_least": 0.98},
    "cheap network, images a second": {"at_least": 1.3},
    "a lone request": {"at_most": 1.05},
    "start to ready": {"at_most": 1.3},
}


def _turn(checkout: Path, photographs: list[bytes], narrow: Path, seconds: float) -> dict[str, float]:
    """Measures the services of one checkout once; returns the figures by their names in `UNITS`.

    narrow: the weights file of the cheap network. seconds: duration of each load.
    """
    start = time.perf_counter()
    with service(checkout=checkout) as server:
        figures = {"start to ready": time.perf_counter() - start, "idle memory": server.memory_mb()}
        images = _with_answers(server, photographs)
        load(server.url, images, connections=CLIENTS, seconds=min(2.0, seconds))
        with PeakMemory(server) as memory:
            before = ProcessorTime.read(server)
            answers = load(server.url, images, connections=CLIENTS, seconds=seconds).check()
            figures["CPU of the event loop"] = 1000 * ProcessorTime.read(server).since(before).event_loop / answers.good
        figures |= {"images a second": answers.rate, "memory, at most": memory.most_mb}
        figures["a lone request"] = statistics.median(load(server.url, images, connections=1, seconds=seconds).milliseconds())
    with service(checkout=checkout, weights=narrow, device="cpu") as server:
        images = _with_answers(server, photographs)
        load(server.url, images, connections=CLIENTS, seconds=min(2.0, seconds))
        answers = load(server.url, images, connections=CLIENTS, seconds=seconds).check()
        figures["cheap network, images a second"] = answers.rate
    return figures


def _with_answers(server: Server, photographs: list[bytes]) -> list[Sample]:
    """The photographs with this server's own answers, because a former commit may give other bytes."""
    return [Sample(photograph, _post(server.url, photograph)) for photograph in photographs]


def _post(url: str, image: bytes) -> bytes:
    return httpx.post(f"{url}/segment", content=image, timeout=120).raise_for_status().content


@contextmanager
def narrow_weights() -> Iterator[Path]:
    """Writes the weights of the narrow network, whose tiles cost almost no time; yields the file's path."""
    from benchmarks.harness.narrow import write_narrow  # needs PyTorch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "narrow.safetensors"
        write_narrow(path)
        yield path
