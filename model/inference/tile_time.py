"""A program that prints the seconds of a tile: `python -m model.inference.tile_time EXPORT THREADS`.

`instructions` runs it in a process of its own, because a process has one limit on instructions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from model.inference.runtimes.openvino_runtime import OpenVINORuntime

ROUNDS = 12


def main(export: str, threads: str) -> float:
    """The least seconds of a tile of the size that the weights advise, after a first one that is not counted."""
    runtime = OpenVINORuntime(Path(export), int(threads))
    preprocessing = runtime.manifest.preprocessing
    tile = np.zeros((*preprocessing.tile, preprocessing.channels), np.uint8)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        runtime.logits([tile])
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
