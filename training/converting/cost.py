"""Measures what a network that gets whole photos costs: memory and seconds at several sizes, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from model.imported_network import Whole
from model.inference.processes.confinement import limit
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.tiling import plan_whole
from training.converting.graph import ConversionError
from training.converting.samples import SEED, noise

CHILD = "from training.converting.cost import child; child()"
LEAST_SIDES = 240, 320  # of the first picture; each next one has twice its area
MOST_SIZES = 9
MOST_SECONDS = 40.0  # of a processor, for one photo: a third of the time after which the service takes a call for stuck
MARGIN = 1.25  # of memory and time, which differ between runs


def measured(path: Path, whole: Whole, memory_mb: int) -> Whole:
    """The document with what a converted file costs, up to the largest picture that takes neither too much memory nor time.

    Raises `ConversionError` if the smallest one does.
    """
    curve = []
    for power in range(MOST_SIZES):
        height, width = (round(side * 2 ** (power / 2)) for side in LEAST_SIDES)
        tile = plan_whole((height, width), whole.multiple).tile
        arguments = [str(path), str(height), str(width), str(memory_mb)]
        result = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            break
        count, seconds = json.loads(result.stdout)
        if seconds > MOST_SECONDS:
            break
        curve.append((tile[0] * tile[1], int(count * MARGIN), seconds * MARGIN))
    if not curve:
        raise ConversionError(f"a photo of {LEAST_SIDES[1]}x{LEAST_SIDES[0]} takes too much as a whole: leave out --tile whole")
    return Whole(whole.multiple, whole.pad, tuple(curve))


def child() -> None:
    """The process that runs a file on one picture, and prints the bytes and the processor's seconds that this took."""
    path, height, width, memory_mb = sys.argv[1:]
    runtime = OpenVINORuntime(Path(path), threads=1)
    before = _peak_bytes()
    limit(int(memory_mb) << 20, 2 * MOST_SECONDS)
    start = time.process_time()
    runtime.logits([noise((int(height), int(width)), SEED)])
    print(json.dumps([max(1, _peak_bytes() - before), time.process_time() - start]))


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
