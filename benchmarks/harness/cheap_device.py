"""A service whose network is a stand-in for a GPU: a device that takes a batch's time without a core. Run as a program.

`python -m benchmarks.harness.cheap_device LAUNCH_MS BATCH_MS TILE_MS` serves like `fcn-serve`, with the same settings.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.main import create_app
from app.server import serve
from app.settings import read_settings
from app.telemetry import configure_logging
from model.inference.loading import load_runtime
from model.inference.merging import Logits
from model.inference.runtime import Runtime, Tile
from model.weights_file import WeightsFiles

MOST_TILES = 64
CALLS = 2


@dataclass(frozen=True)
class Times:
    """Milliseconds of a batch. launch: of the calling thread's processor time. batch, tile: of the device's time, for the batch
    and for each of its tiles; the device runs one batch after another.
    """

    launch: float
    batch: float
    tile: float


# an H200 by RESULTS.md, "GPU", bfloat16: 364 tiles a second in batches of 1, 2,887 in batches of 32, 3,615 in two such batches
H200 = Times(launch=2.0, batch=0.1, tile=0.27)


class CheapDevice:
    """A runtime that takes a GPU's time and, but for launches, hardly any of the processor's.

    Several threads may call `logits`. As with a GPU, two calls are useful at the same time, and one thread at a time launches.
    The logits are those that `real` gives for the first tile of each shape, so that workers merge and encode real ones.
    """

    device = "cheap"

    def __init__(self, real: Runtime, times: Times) -> None:
        self._real, self._times = real, times
        self.identity, self.manifest, self.stride, self.grid = real.identity, real.manifest, real.stride, real.grid
        self.file_sha256, self.network_sha256 = real.file_sha256, real.network_sha256
        self.max_batch, self.max_concurrency = MOST_TILES, CALLS
        self.max_pixels: int | None = None
        self._lock = threading.Lock()  # guards what follows
        self._logits: dict[tuple[int, ...], Logits] = {}
        self._free_at = 0.0  # when the device will have run all batches
        self._kernel = np.zeros(4096, np.float32)

    def concurrency(self, tiles: int) -> int:
        return self.max_concurrency

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        shape = np.stack(tiles).shape[1:]
        with self._lock:
            if shape not in self._logits:
                self._logits[shape] = self._real.logits(tiles[:1])[0]
            self._launch()
            start = max(time.perf_counter(), self._free_at)
            self._free_at = end = start + (self._times.batch + self._times.tile * len(tiles)) / 1000
        time.sleep(max(0.0, end - time.perf_counter()))
        return np.stack([self._logits[shape]] * len(tiles))

    def describe(self) -> dict[str, str]:
        return self._real.describe()

    def _launch(self) -> None:
        """Keeps the thread busy as launches of kernels do: many short calls, each of which frees the interpreter's lock."""
        end = time.thread_time() + self._times.launch / 1000
        while time.thread_time() < end:
            np.add(self._kernel, 1, out=self._kernel)


def main(argv: Sequence[str]) -> int:
    times = Times(*map(float, argv))
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    app = create_app(settings)

    def load(files: WeightsFiles, runtime: str, device: str, precision: str, threads: int) -> Runtime:
        return CheapDevice(load_runtime(files, "openvino", "cpu", precision, threads), times)

    app.state.service.registry.load_runtime = load
    return serve(app)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
