"""Measures the default weights on this machine: the network, a lone request, and requests at once.

Writes `benchmarks/RESULTS.md` with machine and commit. Times are medians; what is compared is measured in one run.
"""

from __future__ import annotations

import argparse
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import torch

from app.settings import Settings
from imaging.decoding import Limits, decode
from imaging.encoding import mask_png
from model.predictor import Predictor
from model.segmentation import segment_image
from model.weights_file import load_weights
from training.machine import commit, machine

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"


@dataclass(frozen=True)
class Row:
    """One line of the results: what, the median, and the fastest and slowest."""

    what: str
    median: float
    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.median:.1f} {self.unit} | {self.low:.1f} to {self.high:.1f} |"


def repeat(what: str, call: Callable[[], object], times: int) -> Row:
    """Milliseconds of the call, after two that are not counted."""
    call(), call()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
    return Row(what, statistics.median(taken), min(taken), max(taken), "ms")


def measure_network(predictors: dict[str, Predictor], times: int) -> list[Row]:
    tile = np.random.default_rng(0).integers(0, 256, (384, 480, 3), dtype=np.uint8)
    return [repeat(f"384x480 tile, {name}", lambda p=p: p.logits([tile]), times) for name, p in predictors.items()]  # type: ignore[misc]


def in_process(predictor: Predictor, data: bytes) -> bytes:
    """The corridor without the web: decode, segment, encode."""
    manifest = predictor.manifest
    image = decode(data, Limits())
    result = segment_image(predictor, image)
    return mask_png(result.class_map, manifest.labels.palette)


@contextmanager
def service() -> Iterator[httpx.Client]:
    """A service with the default settings, ready."""
    command = [sys.executable, "-c", "import sys; from app.main import main; sys.exit(main([]))"]
    port = _free_port()
    environment = {"SEGMENT_PORT": str(port), "SEGMENT_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"}
    with (
        subprocess.Popen(command, env=environment, cwd=ROOT) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=httpx.Limits(max_connections=64)) as client,
    ):
        try:
            _wait(client, process)
            yield client
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service ended with status {process.returncode}")


def measure_service(client: httpx.Client, data: bytes, expected: bytes, times: int) -> list[Row]:
    def ask(_: int = 0) -> None:
        response = client.post("/segment", content=data)
        if response.content != expected:
            raise RuntimeError(f"the service answered {response.status_code} and another mask than the corridor")

    rows = [repeat("one request, over HTTP", ask, times)]
    for clients in (4, 16):
        rates = []
        with ThreadPoolExecutor(clients) as pool:
            for _ in range(3):
                started = time.perf_counter()
                list(pool.map(ask, range(times)))
                rates.append(times / (time.perf_counter() - started))
        rows.append(Row(f"{clients} clients", statistics.median(rates), min(rates), max(rates), "images/s"))
    return rows


def report(rows: list[Row], predictor: Predictor) -> str:
    by_name = {row.what: row for row in rows}
    alone = by_name["one image, in process"]
    lines = [
        "# Results",
        "",
        f"`fcn-bench` on {machine()}; Python {platform.python_version()}, torch {torch.__version__}, commit {commit()}.",
        f"Weights {predictor.weights.name} ({predictor.weights.sha256[:12]}), {predictor.device}, {predictor.dtype_name}; "
        f"the photo is docs/photos/{PHOTO.name}.",
        "",
        "| what | median | spread |",
        "|---|---|---|",
        *map(str, rows),
        "",
        f"- float32 / {predictor.dtype_name}, a tile: {_ratio(rows[0].median, rows[1].median)}",
        f"- one request over HTTP / in process: {_ratio(by_name['one request, over HTTP'].median, alone.median)}",
        f"- 16 clients / one image at a time in process: {_ratio(by_name['16 clients'].median, 1000 / alone.median)}",
    ]
    return "\n".join(lines) + "\n"


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser("fcn-bench", description="Measures the default weights on this machine.")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that the harness works")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    args = parser.parse_args()
    times = 6 if args.quick else 60
    weights = load_weights(Path(Settings(_env_file=None).weights))
    torch.set_num_threads(Settings(_env_file=None).cpu_threads)
    predictor = Predictor(weights)
    rows = measure_network({"float32": Predictor(weights, dtype="float32"), predictor.dtype_name: predictor}, times)
    data = PHOTO.read_bytes()
    rows.append(repeat("one image, in process", lambda: in_process(predictor, data), times))
    with service() as client:
        rows += measure_service(client, data, in_process(predictor, data), times)
    args.out.write_text(report(rows, predictor))
    print(args.out.read_text())
    return 0
