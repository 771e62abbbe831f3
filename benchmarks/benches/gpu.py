"""Compares the torch runtime on a GPU with the default runtime on the processor: tiles and answers a second."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass

import numpy as np

from benchmarks.benches.runtimes import tiles, tiles_a_second
from benchmarks.harness.images import ONE_MEGAPIXEL, command_line, photos, samples
from benchmarks.harness.load import Sample, load
from benchmarks.harness.processor_time import ProcessorTime
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import Server, service
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

BATCHES = (1, 8, 32)
CALLERS = 2  # threads that call the runtime, as the scheduler's do
CLIENTS = (1, 16, 64)
PRECISIONS = ("bfloat16", "float32")
SERIES = {"tiles": "segment_batch_tiles_sum", "batches": "segment_batch_tiles_count", "busy": "segment_network_seconds_total"}
TEXT = """\
The default network on 384x480 tiles, from uint8 pixels to float32 logits, with the copies to and from the GPU: on the GPU in
batches, called by two threads, as the service does, and on the processor. Then the service on the GPU answers with
masks of JPEGs of one megapixel. "No batch" is the share of the time in which the runtime had none. Rounding on a
GPU depends on the batch, so the bench counts answers with other bytes than those of the same image alone."""


@dataclass(frozen=True)
class Counts:
    """What the service's metrics had counted at a moment of `time.perf_counter`."""

    moment: float
    tiles: float
    batches: float
    busy: float

    @classmethod
    def read(cls, server: Server) -> Counts:
        return cls(time.perf_counter(), **{name: server.metric(series) for name, series in SERIES.items()})

    def since(self, earlier: Counts) -> Counts:
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


def missing() -> str | None:
    """The reason why this bench cannot run here, or None if it can."""
    import torch

    return None if torch.cuda.is_available() else "gpu needs an NVIDIA GPU that PyTorch sees, and there is none"


def run(*, quick: bool) -> Section:
    files, seconds = find_files(DEFAULT_WEIGHTS), 0.5 if quick else 2.0
    on_cpu, master = load_runtime(files, device="cpu"), load_runtime(files, "torch", "cpu", "float32")
    cpu = tiles_a_second(on_cpu, batch=1, callers=1, seconds=seconds)
    reference = [master.logits([tile])[0].argmax(0) for tile in tiles()]
    rows = [Row.of(f"processor, {_name(on_cpu)}", cpu, "tiles/s")]
    ratios: list[Ratio] = []
    for precision in PRECISIONS:
        start = time.perf_counter()
        on_gpu = load_runtime(files, "torch", "cuda", precision)
        Segmenter(on_gpu).warm_up()
        name = f"GPU, {_name(on_gpu)}"
        rows.append(Row.of(f"{name}, load and warm-up", [time.perf_counter() - start], "s"))
        for batch in BATCHES:
            rate = tiles_a_second(on_gpu, batch=batch, callers=CALLERS, seconds=seconds)
            rows.append(Row.of(f"{name}, batches of {batch}", rate, "tiles/s"))
        maps = [on_gpu.logits([tile])[0].argmax(0) for tile in tiles()]
        agreement = float(np.mean(np.stack(maps) == np.stack(reference)))
        ratios.append(Ratio(f"agreement in argmax, {name} and torch in float32 on the processor", agreement))
    served_rows, different_share = answers_a_second(1.0 if quick else 3.0)
    ratios.append(Ratio("share of answers with other bytes than alone", different_share))
    return Section("GPU", TEXT, [*rows, *served_rows], ratios)


def answers_a_second(seconds: float) -> tuple[list[Row], float]:
    """Rows of rates and times for each number of clients, and the share of answers whose bytes differ from the image alone.

    Raises `RuntimeError` if a request fails.
    """
    images: list[Sample] = samples(command_line(device="cuda"), photos([ONE_MEGAPIXEL]))
    rows, wrong, answers = [], 0, 0
    start = time.perf_counter()
    with service(device="cuda") as server:
        name = "served on the GPU"
        rows.append(Row.of(f"{name}, start to ready", [time.perf_counter() - start], "s"))
        load(server.url, images, connections=16, seconds=seconds)
        for clients in CLIENTS:
            counts, processors = Counts.read(server), ProcessorTime.read(server)
            result = load(server.url, images, connections=clients, seconds=seconds)
            counts, processors = Counts.read(server).since(counts), ProcessorTime.read(server).since(processors)
            if result.failures or result.errors or not result.answers:
                raise RuntimeError(f"{name}, {clients} clients: {result.failures} failures, {result.errors} errors")
            count, workers = len(result.answers), processors.workers_user + processors.workers_system
            rows.append(Row.of(f"{name}, {clients} clients", [count / result.seconds], "images/s"))
            rows.append(Row.of(f"{name}, {clients} clients, a request", result.milliseconds(), "ms"))
            rows += [
                Row.of(f"{name}, {clients} clients, {what}", [value], unit)
                for what, value, unit in (
                    ("event loop busy", 100 * processors.event_loop / result.seconds, "%"),
                    ("event loop, an image", 1000 * processors.event_loop / count, "ms"),
                    ("threads of the network, an image", 1000 * processors.network / count, "ms"),
                    ("workers, an image", 1000 * workers / count, "ms"),
                    ("in a batch", counts.tiles / counts.batches, "tiles"),
                    ("no batch", 100 * (1 - counts.busy / counts.moment), "%"),
                )
            ]
            wrong, answers = wrong + result.wrong, answers + count
        rows.append(Row.of(f"{name}, memory afterwards", [server.memory_mb()], "MB"))
    return rows, wrong / answers


def _name(runtime: Runtime) -> str:
    facts = runtime.describe()
    return f"{facts['runtime']} {facts['precision']}"
