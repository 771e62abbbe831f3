"""The torch runtime on a GPU against the default runtime on the processor: tiles and answers a second."""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks.images import SMALL, command_line, photos, samples
from benchmarks.load import Sample, load
from benchmarks.results import Ratio, Row, Section
from benchmarks.runtimes import TILE, tiles
from benchmarks.serving import service
from model.inference.runtime import Runtime, load_runtime
from model.weights_file import DEFAULT_WEIGHTS, find_files

BATCHES = (1, 8, 32)
CLIENTS = (1, 64, 256)
TEXT = """\
The default network, 384x480 tiles from uint8 pixels to float32 logits, copies included: with torch on the GPU in batches, and
on the processor as it is served there by default. Then the service on each, asked for masks of 500x375 JPEGs. A GPU rounds
by the batch: answers whose bytes differ from those of the same image alone are counted, as is the agreement in argmax."""


def missing() -> str | None:
    """Why this bench cannot run here, or None."""
    try:
        import torch
    except ModuleNotFoundError:
        return "gpu needs PyTorch: pip install 'fcn-segment[torch]'"
    return None if torch.cuda.is_available() else "gpu needs an NVIDIA GPU that PyTorch sees, and there is none"


def run(*, quick: bool) -> Section:
    files, seconds = find_files(DEFAULT_WEIGHTS), 0.5 if quick else 5.0
    on_gpu, on_cpu = (load_runtime(files, device=device) for device in ("cuda", "cpu"))
    rows: list[Row] = []
    ratios: list[Ratio] = []
    cpu = tiles_a_second(on_cpu, 1, seconds)
    rows.append(Row.of(f"processor, {_named(on_cpu)}", cpu, "tiles/s"))
    for batch in BATCHES:
        gpu = tiles_a_second(on_gpu, batch, seconds)
        rows.append(Row.of(f"GPU, {_named(on_gpu)}, batches of {batch}", gpu, "tiles/s"))
        ratios.append(Ratio(f"tiles a second, GPU in batches of {batch} / processor", _median(gpu) / _median(cpu)))
    master = load_runtime(files, "torch", "cpu", "float32")
    maps = [np.stack([runtime.logits([tile])[0].argmax(0) for tile in tiles()]) for runtime in (on_gpu, master)]
    ratios.append(Ratio("agreement in argmax, GPU and torch in float32 on the processor", float((maps[0] == maps[1]).mean())))
    for device in ("cuda", "cpu"):
        found, wrong = answers_a_second(device, 1.0 if quick else 6.0)
        rows += found
        ratios.append(Ratio(f"share of answers with other bytes than alone, {device}", wrong))
    return Section("GPU", TEXT, rows, ratios)


def tiles_a_second(runtime: Runtime, batch: int, seconds: float) -> list[float]:
    """Of each call with a batch of this size, after three that are not counted."""
    found: list[float] = []
    rng = np.random.default_rng(0)
    given = list(rng.integers(0, 256, (batch, *TILE, 3), np.uint8))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 6:
        started = time.perf_counter()
        runtime.logits(given)
        found.append(batch / (time.perf_counter() - started))
    return found[3:]


def answers_a_second(device: str, seconds: float) -> tuple[list[Row], float]:
    """Rates and times by the number of clients, and the share of answers with other bytes than alone."""
    images: list[Sample] = samples(command_line(device=device), photos([SMALL]))
    rows, wrong, answers = [], 0, 0
    with service(device=device) as server:
        load(server.url, images, connections=16, seconds=seconds)
        for clients in CLIENTS:
            found = load(server.url, images, connections=clients, seconds=seconds)
            if found.failed or found.errors:
                raise RuntimeError(f"{device}, {clients} clients: {found.failed} failures, {found.errors} errors")
            rate = len(found.answers) / found.seconds
            rows.append(Row.of(f"served on {device}, {clients} clients", [rate], "images/s"))
            rows.append(Row.of(f"served on {device}, {clients} clients, a request", found.milliseconds(), "ms"))
            wrong, answers = wrong + found.wrong, answers + len(found.answers)
    return rows, wrong / answers


def _named(runtime: Runtime) -> str:
    facts = runtime.describe()
    return f"{facts['runtime']} {facts['precision']}"


def _median(values: list[float]) -> float:
    return statistics.median(values)
