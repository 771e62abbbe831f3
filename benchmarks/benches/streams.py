"""Compares tiles at once, each on its own core, with tiles one after another on all cores: tiles a second, and equal bits."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.harness.rates import TILE, tiles_a_second
from benchmarks.harness.results import Ratio, Row, Section
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.tiling import tile_shapes
from model.weights_file import DEFAULT_WEIGHTS, find_files

TEXT = """\
The default network on {cores} cores with 384x480 tiles, from uint8 pixels to float32 logits. One after another: each tile on
all cores, as for a single client. At once: as many tiles as the runtime has streams, as for many clients. Then both run a
tile of each shape, and the bench compares their logits bit for bit."""


def run(*, quick: bool) -> Section:
    rows: list[Row] = []
    ratios: list[Ratio] = []
    seconds = 0.5 if quick else 5.0
    for precision, export in find_files(DEFAULT_WEIGHTS).exports.items():
        runtime = OpenVINORuntime(export)
        alone = tiles_a_second(runtime, batch=1, callers=1, seconds=seconds)
        rows.append(Row.of(f"{precision}, one after another", alone, "tiles/s"))
        if runtime.max_concurrency == 1:
            continue
        tiles = [np.random.default_rng(i).integers(0, 256, (*shape, 3), np.uint8) for i, shape in enumerate(tile_shapes(TILE))]
        reference = [runtime.logits([tile]).tobytes() for tile in tiles]
        while runtime.max_concurrency > 1 == runtime.concurrency(2 * runtime.max_concurrency):  # until they are compiled
            time.sleep(0.05)
        crowd = tiles_a_second(runtime, batch=1, callers=runtime.max_concurrency, seconds=seconds)
        rows.append(Row.of(f"{precision}, {runtime.max_concurrency} at once", crowd, "tiles/s"))
        gain = statistics.median(crowd) / statistics.median(alone)
        ratios.append(Ratio(f"{precision}, tiles a second, at once / one after another", gain))
        with ThreadPoolExecutor(runtime.max_concurrency) as pool:
            logits = list(pool.map(lambda tile: runtime.logits([tile]).tobytes(), tiles * 4))  # noqa: B023
        fell_back = runtime.max_concurrency == 1
        ratios.append(Ratio(f"{precision}, shapes with other bits", float(fell_back or logits != reference * 4), at_most=0))
    return Section("Streams", TEXT.format(cores=runtime.threads), rows, ratios)
