"""The default network in each runtime on the processor: time of a tile, tiles a second, and agreement of the class ids."""

from __future__ import annotations

import io
import json
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
from model.inference.runtime import Runtime, Tile
from model.weights_file import DEFAULT_WEIGHTS, find_files

TILE = (384, 480)  # pixels of a tile of the published weights, (height, width)
PARTS = 5  # of the duration of `tiles_a_second`; each gives a rate
REFERENCE = "torch, float32"
OTHER = "MobileNet-EdgeTPU, "  # begins the kinds that run the network of `STREETS`
STREETS = "camvid-fcn8s-mobilenet-edgetpu"
AGREEING = 0.999  # least share of cells that runtimes in float32 must agree on
TEXT = """\
One 384x480 tile of the default network (MobileNetV2), from uint8 pixels to float32 logits, each runtime in its own process.
Alone: one call after the other. All cores busy: one calling thread for each core. Agreement: the share of cells of the photos
in `docs/` with the argmax of torch in float32. MobileNet-EdgeTPU is the network of the CamVid file."""
Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def network_of(runtime: str, precision: str, weights: str = DEFAULT_WEIGHTS) -> Network:
    """The network as the service runs it with these settings, on the processor."""
    network = load_runtime(find_files(weights), runtime, "cpu", precision)
    return lambda tile: network.logits([tile])[0]


def onnxruntime() -> Network:
    """The float32 export in ONNX Runtime; raises `ModuleNotFoundError` if the package is not installed."""
    package = import_module("onnxruntime")
    options = package.SessionOptions()
    options.intra_op_num_threads = available_cores()
    path = find_files(DEFAULT_WEIGHTS).exports["float32"]
    session = package.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tile: np.asarray(session.run(None, {name: tile[None]})[0][0])


KINDS: dict[str, Callable[[], Network]] = {
    REFERENCE: lambda: network_of("torch", "float32"),
    "torch, bfloat16": lambda: network_of("torch", "bfloat16"),
    "OpenVINO, float32": lambda: network_of("openvino", "float32"),
    "OpenVINO, int8": lambda: network_of("openvino", "int8"),
    "ONNX Runtime, float32": onnxruntime,
    f"{OTHER}OpenVINO, float32": lambda: network_of("openvino", "float32", STREETS),
    f"{OTHER}OpenVINO, int8": lambda: network_of("openvino", "int8", STREETS),
}


def run(*, quick: bool) -> Section:
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if measurement := measure(kind, 0.3 if quick else 6.0, Path(folder) / f"{kind}.npy"):
                results[kind] = measurement
        maps = {kind: np.load(Path(folder) / f"{kind}.npy") for kind in results}
    rows = [Row.of(f"{kind}, alone", result["ms"], "ms") for kind, result in results.items()]
    rows += [Row.of(f"{kind}, all cores busy", [result["rate"]], "tiles/s") for kind, result in results.items()]
    ratios = [
        Ratio(f"agreement, {kind}", float((ids == maps[REFERENCE]).mean()), AGREEING if "float32" in kind else None)
        for kind, ids in maps.items()
        if kind != REFERENCE and not kind.startswith(OTHER) and REFERENCE in maps
    ]
    return Section("Runtimes", TEXT, rows, ratios)


def measure(kind: str, seconds: float, path: Path) -> dict[str, Any] | None:
    """Runs `main` in a new process and returns its measurement.

    Returns None, and prints the reason, if the runtime is not installed or cannot run the network. path: of the class ids.
    """
    command = [sys.executable, "-m", "benchmarks.benches.runtimes", kind, str(seconds), str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["the process printed no error"])[-1]
        print(f"fcn-bench: {kind}: {reason}", file=sys.stderr)
        return None
    measurement: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measurement


def tiles() -> list[npt.NDArray[np.uint8]]:
    """One tile of each photograph in `PHOTOS`."""
    files = [photo(name, (TILE[1], TILE[0])) for name in PHOTOS]
    return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]


def alone(network: Network, tile: npt.NDArray[np.uint8], seconds: float) -> list[float]:
    """Milliseconds of each of at least three calls, one after the other."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        network(tile)
        times.append((time.perf_counter() - start) * 1000)
    return times


def rate(network: Network, tile: npt.NDArray[np.uint8], seconds: float) -> float:
    """Calls a second of one thread for each core."""
    with ThreadPoolExecutor(available_cores()) as pool:
        start = time.perf_counter()
        counts = pool.map(lambda _: len(alone(network, tile, seconds)), range(available_cores()))
        return sum(counts) / (time.perf_counter() - start)


def tiles_a_second(runtime: Runtime, *, batch: int, callers: int, seconds: float) -> list[float]:
    """The rate of each of `PARTS` parts of `seconds`, after a part as warm-up.

    batch: tiles of a call. callers: number of threads that call the runtime.
    """
    batches = [list(np.random.default_rng(i).integers(0, 256, (batch, *TILE, 3), np.uint8)) for i in range(callers)]
    for _ in range(3):
        runtime.logits(batches[0])
    rates = []
    with ThreadPoolExecutor(callers) as pool:
        for _ in range(PARTS + 1):
            start = time.perf_counter()
            end = start + seconds / PARTS
            calls = sum(pool.map(lambda tiles: _calls(runtime, tiles, end), batches))  # noqa: B023
            rates.append(calls * batch / (time.perf_counter() - start))
    return rates[1:]


def _calls(runtime: Runtime, batch: list[Tile], end: float) -> int:
    calls = 0
    while time.perf_counter() < end:
        runtime.logits(batch)
        calls += 1
    return calls


def main() -> None:
    """Prints a runtime's times alone and its rate as JSON, and saves the class ids of the photographs' cells.

    Command line: kind (of `KINDS`), seconds, path of the class ids.
    """
    kind, seconds, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    network, photographs = KINDS[kind](), tiles()
    alone(network, photographs[0], min(1.0, seconds))
    measurement = {"ms": alone(network, photographs[0], seconds), "rate": rate(network, photographs[0], seconds)}
    np.save(path, [network(tile).argmax(0) for tile in photographs])
    print(json.dumps(measurement))


if __name__ == "__main__":
    main()
