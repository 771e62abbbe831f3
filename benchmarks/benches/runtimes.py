"""The default network in each runtime on the processor: how long a tile takes, how many a second, and whether they agree."""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import ROOT
from model.inference.cores import available_cores
from model.inference.loading import load_runtime
from model.weights_file import DEFAULT_WEIGHTS, find_files

TILE = (384, 480)
REFERENCE = "torch, float32"
OTHER = "MobileNet-EdgeTPU, "
STREETS = "camvid-fcn8s-mobilenet-edgetpu"
AGREEING = 0.999  # share of cells, of the files in float32
TEXT = """\
One 384x480 tile of the default network, from uint8 pixels to float32 logits, on all cores; each runtime in a process of its
own, one after the other. Alone: one call after the other. Tiles a second: as many threads call as there are cores. Agreement
is the share of cells of the photographs in `docs/` with the same argmax as torch in float32 gives. MobileNet-EdgeTPU is the
network of the CamVid file, the default's is on MobileNetV2."""
Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def served(runtime: str, precision: str, weights: str = DEFAULT_WEIGHTS) -> Network:
    """The network as the service runs it with these settings."""
    network = load_runtime(find_files(weights), runtime, "cpu", precision)
    return lambda tile: network.logits([tile])[0]


def onnxruntime() -> Network:
    """The float32 export in ONNX Runtime, where that is installed."""
    package = import_module("onnxruntime")
    options = package.SessionOptions()
    options.intra_op_num_threads = available_cores()
    path = find_files(DEFAULT_WEIGHTS).exports["float32"]
    session = package.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tile: np.asarray(session.run(None, {name: tile[None]})[0][0])


KINDS: dict[str, Callable[[], Network]] = {
    REFERENCE: lambda: served("torch", "float32"),
    "torch, bfloat16": lambda: served("torch", "bfloat16"),
    "OpenVINO, float32": lambda: served("openvino", "float32"),
    "OpenVINO, int8": lambda: served("openvino", "int8"),
    "ONNX Runtime, float32": onnxruntime,
    f"{OTHER}OpenVINO, float32": lambda: served("openvino", "float32", STREETS),
    f"{OTHER}OpenVINO, int8": lambda: served("openvino", "int8", STREETS),
}


def run(*, quick: bool) -> Section:
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if answer := measured(kind, 0.3 if quick else 6.0, Path(folder) / f"{kind}.npy"):
                found[kind] = answer
        maps = {kind: np.load(Path(folder) / f"{kind}.npy") for kind in found}
    rows = [Row.of(f"{kind}, alone", each["ms"], "ms") for kind, each in found.items()]
    rows += [Row.of(f"{kind}, all cores busy", [each["rate"]], "tiles/s") for kind, each in found.items()]
    ratios = []
    for kind in found:
        other_network = kind.startswith(OTHER)
        beside = kind.removeprefix(OTHER) if other_network else REFERENCE
        if kind == beside or beside not in found:
            continue
        reference, other = found[beside], found[kind]
        alone = statistics.median(other["ms"]) / statistics.median(reference["ms"])
        ratios.append(Ratio(f"time alone, {kind} / {beside}", alone))
        ratios.append(Ratio(f"tiles a second, {kind} / {beside}", other["rate"] / reference["rate"]))
        if other_network:
            continue
        agreement = float((maps[kind] == maps[REFERENCE]).mean())
        ratios.append(Ratio(f"agreement, {kind}", agreement, AGREEING if "float32" in kind else None))
    return Section("Runtimes", TEXT, rows, ratios)


def measured(kind: str, seconds: float, path: Path) -> dict[str, Any] | None:
    """What `main` found in a process of its own, or None where the runtime is not installed or cannot run the network."""
    command = [sys.executable, "-m", "benchmarks.benches.runtimes", kind, str(seconds), str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        print(f"fcn-bench: {kind}: {reason}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def tiles() -> list[npt.NDArray[np.uint8]]:
    """A tile of each photograph."""
    files = [photo(name, (TILE[1], TILE[0])) for name in PHOTOS]
    return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]


def alone(network: Network, tile: npt.NDArray[np.uint8], seconds: float) -> list[float]:
    """Milliseconds of each call, one after the other; at least three."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 3:
        started = time.perf_counter()
        network(tile)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def rate(network: Network, tile: npt.NDArray[np.uint8], seconds: float) -> float:
    """Calls a second, by as many threads as there are cores."""
    with ThreadPoolExecutor(available_cores()) as pool:
        started = time.perf_counter()
        counts = pool.map(lambda _: len(alone(network, tile, seconds)), range(available_cores()))
        return sum(counts) / (time.perf_counter() - started)


def main() -> int:
    """Prints one runtime's times alone and its rate as JSON, and saves its class ids of the cells."""
    kind, seconds, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    network, photographs = KINDS[kind](), tiles()
    alone(network, photographs[0], min(1.0, seconds))
    found = {"ms": alone(network, photographs[0], seconds), "rate": rate(network, photographs[0], seconds)}
    np.save(path, [network(tile).argmax(0) for tile in photographs])
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
