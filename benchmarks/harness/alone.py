"""`Segmenter` in one process: what an image costs without a service around it. Run as a program, it prints JSON."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.harness.images import ONE_MEGAPIXEL, photos
from benchmarks.harness.serving import ROOT
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

WARM_UP = 10  # images


@dataclass(frozen=True)
class Cost:
    """Milliseconds of an image of one megapixel: processor time on average, wall time in the median."""

    cpu_ms: float
    wall_ms: float


def measure(seconds: float, threads: int) -> Cost:
    """The cost in a new process. threads: of the network; 0 for one per core. Raises `RuntimeError` if the process fails."""
    command = [sys.executable, "-m", __name__, str(seconds), str(threads)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"Segmenter in one process failed: {process.stderr.strip()[-300:]}")
    return Cost(**json.loads(process.stdout))


def main() -> None:
    seconds, threads = float(sys.argv[1]), int(sys.argv[2])
    options = Options()
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), threads=threads))
    segmenter.warm_up(options.tile)
    images = itertools.cycle(photos([ONE_MEGAPIXEL]))
    for data in itertools.islice(images, WARM_UP):
        segmenter.segment(data, segmenter.plan(data, options))
    walls = []
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        data, start = next(images), time.perf_counter()
        segmenter.segment(data, segmenter.plan(data, options))
        walls.append(1000 * (time.perf_counter() - start))
    cost = Cost(1000 * (time.process_time() - cpu) / len(walls), statistics.median(walls))
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
