"""Whether one service feeds a GPU: answers a second, batches, and how long no batch ran. Without a GPU on a stand-in for it."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

import httpx

from benchmarks.benches import gpu
from benchmarks.harness import cheap_device
from benchmarks.harness.images import SMALL, photos
from benchmarks.harness.load import Sample, load
from benchmarks.harness.processor_time import ProcessorTime
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import Server, image_variables, service
from model.inference.cores import available_cores

CLIENTS = (1, 16, 64)
FORMER_BATCH = 8  # tiles that the other batches are compared with
LEAST_RATE = 600.0  # images a second of one service on a GPU
SERIES = {"tiles": "segment_batch_tiles_sum", "batches": "segment_batch_tiles_count", "busy": "segment_network_seconds_total"}
TEXT = """\
One service with its default weights on {cores} cores and {device}: masks of JPEGs of {width}x{height}, by the number of
clients. The event loop is the front process's first thread. "No batch" is the share of the time in which the scheduler had no
batch in the runtime, so that the device had nothing to do. Each turn starts the service anew, with batches as large as the
load makes them, and with batches of at most {former} tiles.
{note}"""
STAND_IN = """\
The stand-in takes {launch:g} ms of the calling thread for a batch, and then {batch:g} ms, and {tile:g} ms a tile, without a
core. An H200's rates by the size of batches give these figures (section "GPU"). Its logits are those of the first tile of each
shape."""
RATE = ("rate", "images/s")


@dataclass(frozen=True)
class Counts:
    """What the service's metrics had counted at a moment of `time.perf_counter`."""

    moment: float
    tiles: float
    batches: float
    busy: float

    @classmethod
    def read(cls, server: Server) -> Counts:
        text = httpx.get(f"{server.url}/metrics", timeout=60).raise_for_status().text
        return cls(time.perf_counter(), **{name: value_of(series, text) for name, series in SERIES.items()})

    def since(self, earlier: Counts) -> Counts:
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


def value_of(series: str, text: str) -> float:
    """The value of a series without labels in Prometheus text. Raises `RuntimeError` if there is none."""
    if match := re.search(rf"^{series} (\S+)$", text, re.MULTILINE):
        return float(match[1])
    raise RuntimeError(f"the metrics have no {series}")


def run(*, quick: bool) -> Section:
    on_gpu, seconds = gpu.missing() is None, 4.0 if quick else 5.0  # 64 clients must have answers on a busy machine, too
    images = [Sample(data, None) for data in photos([SMALL])]
    values: dict[tuple[str, str], list[float]] = {}  # by what they are and their unit
    rates: dict[int, list[float]] = {0: [], FORMER_BATCH: []}
    for _ in range(1 if quick else 2):
        for most, clients in ((0, CLIENTS), (FORMER_BATCH, CLIENTS[-1:])):
            with _service(on_gpu=on_gpu, max_batch_tiles=most) as server:
                load(server.url, images, connections=CLIENTS[-1], seconds=seconds / 2)
                for count in clients:
                    name = f"{count} client{'s' if count > 1 else ''}" + (f", batches of at most {most}" if most else "")
                    answers = measure(server, images, count, seconds)
                    for (what, unit), value in answers.items():
                        values.setdefault((f"{name}: {what}", unit), []).append(value)
                    if count == CLIENTS[-1]:
                        rates[most].append(answers[RATE])
    fed, former = (statistics.median(each) for each in rates.values())
    return Section(
        "Feeding a GPU",
        _text(on_gpu=on_gpu),
        [Row.of(what, each, unit) for (what, unit), each in values.items()],
        [
            Ratio(f"images a second, {CLIENTS[-1]} clients", fed, at_least=LEAST_RATE if on_gpu else None),
            Ratio(f"images a second, {CLIENTS[-1]} clients, batches by load / of at most {FORMER_BATCH}", fed / former),
        ],
    )


def _text(*, on_gpu: bool) -> str:
    device = "a GPU" if on_gpu else "a stand-in for a GPU"
    note = "The network runs with torch." if on_gpu else STAND_IN.format(**vars(cheap_device.H200))
    (width, height), cores = SMALL, available_cores()
    return TEXT.format(cores=cores, device=device, width=width, height=height, former=FORMER_BATCH, note=note)


def measure(server: Server, images: list[Sample], clients: int, seconds: float) -> dict[tuple[str, str], float]:
    """Figures of a load, by what they are and their unit. Raises `RuntimeError` if a request fails or none is answered."""
    counts, processors = Counts.read(server), ProcessorTime.read(server)
    result = load(server.url, images, connections=clients, seconds=seconds)
    if result.failures or result.errors or not result.answers:
        text = f"{len(result.answers)} answers, {result.failures} failures, {result.errors} errors"
        raise RuntimeError(f"{clients} clients, {SMALL[0]}x{SMALL[1]}: {text}")
    processors, counts = ProcessorTime.read(server).since(processors), Counts.read(server).since(counts)
    answers = len(result.answers)
    return {
        RATE: answers / result.seconds,
        ("a request", "ms"): statistics.median(result.milliseconds()),
        ("event loop busy", "%"): 100 * processors.event_loop / result.seconds,
        ("event loop, an image", "ms"): 1000 * processors.event_loop / answers,
        ("threads of the network, an image", "ms"): 1000 * processors.network / answers,
        ("workers, an image", "ms"): 1000 * (processors.workers_user + processors.workers_system) / answers,
        ("in a batch", "tiles"): counts.tiles / counts.batches,
        ("no batch", "%"): 100 * (1 - counts.busy / counts.moment),
    }


@contextmanager
def _service(*, on_gpu: bool, max_batch_tiles: int) -> Iterator[Server]:
    if on_gpu:
        with service(device="cuda", max_batch_tiles=max_batch_tiles) as server:
            yield server
        return
    times = map(str, astuple(cheap_device.H200))
    command = (sys.executable, "-m", cheap_device.__name__, *times)
    with service(command=command, environment=image_variables(), max_batch_tiles=max_batch_tiles) as server:
        yield server
