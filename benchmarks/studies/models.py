"""Compares the family's networks: trains the rows of `models.toml`, measures each network, and writes `docs/models.json`.

    python -m benchmarks.studies.models --out runs/models

The rows refer to their data and start weights as `data/` and `start/` in the checkout.
`benchmarks.studies.documents` makes the page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.studies.trainings import ROOT, by_name, read_table, results, run_rows
from model.architecture import Architecture
from model.inference.runtime import Tile
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.labels import numbered_labels
from model.manifest import Manifest
from model.networks.builder import build_network
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import Weights
from training.reporting.machine import commit, machine

TABLE = Path(__file__).with_name("models.toml")
RESULTS = ROOT / "docs" / "models.json"
TILE = (384, 480)
REPEATS = 15


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.models", description="Trains and measures the family's networks.")
    parser.add_argument("--out", type=Path, default=Path("runs/models"))
    parser.add_argument("--threads", type=int, default=1, help="threads of each training; measurements use all cores")
    parser.add_argument("--measure", action="store_true", help="measure every trained row, and write the results")
    parser.add_argument("rows", nargs="*", help="names of rows to train (default: all)")
    args = parser.parse_args()
    table = read_table(TABLE)
    if args.measure:
        row_of = by_name(json.loads(RESULTS.read_text())["rows"]) | by_name(results(table, args.out))
        rows = [dict(row_of[row.name]) for row in table.rows if row.name in row_of]
        RESULTS.write_text(json.dumps(measure(rows), indent=1) + "\n")
    else:
        run_rows(table, args.out, args.rows, args.threads)
    return 0


def measure(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The document of these trained rows, with the parameters, operations and milliseconds of their networks.

    Adds these figures to `rows`. The networks are built anew from the rows' architectures, because times do not depend on the
    weights.
    """
    networks = [untrained(Architecture.from_dict(row["architecture"])) for row in rows]
    tile = np.random.default_rng(0).integers(0, 256, (*TILE, 3), dtype=np.uint8)
    for row, times in zip(rows, milliseconds(networks, tile), strict=True):
        architecture = Architecture.from_dict(row["architecture"])
        row |= {"parameters": parameters(architecture), "gflops": gflops(architecture)}
        row |= {"ms": round(statistics.median(times), 1), "ms_low": round(min(times), 1), "ms_high": round(max(times), 1)}
    dtype = networks[0].identity.precision if networks else ""
    return {"tile": TILE, "dtype": dtype, "machine": machine(), "commit": commit(), "torch": torch.__version__, "rows": rows}


def untrained(architecture: Architecture) -> TorchRuntime:
    """A network of this architecture with random weights, as the service runs it."""
    labels = numbered_labels([f"class {number}" for number in range(architecture.num_classes)])
    manifest = Manifest(architecture, labels, Preprocessing(), "none")
    return TorchRuntime(Weights("untrained", "", manifest, half_tensors(build_network(architecture))))


def milliseconds(networks: Sequence[TorchRuntime], tile: Tile) -> list[list[float]]:
    """Milliseconds of `REPEATS` runs of this tile through each network.

    The networks take turns, so that a slow phase of the machine affects all of them. The first two turns warm up.
    """
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(REPEATS + 2):
        for network, network_times in zip(networks, times, strict=True):
            start = time.perf_counter()
            network.logits([tile])
            if turn >= 2:
                network_times.append((time.perf_counter() - start) * 1000)
    return times


def parameters(architecture: Architecture) -> int:
    """Number of parameters of the network."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(architecture).parameters())


def gflops(architecture: Architecture) -> float:
    """Billions of floating-point operations for one tile; a multiplication and an addition count as two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network(architecture).eval()(torch.empty(1, 3, *TILE))
    total: int = counter.get_total_flops()
    return round(total / 1e9, 2)


if __name__ == "__main__":
    sys.exit(main())
