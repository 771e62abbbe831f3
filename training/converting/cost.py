"""How a network takes whole photos: sides that it runs on, by trying, and the memory and seconds of each size of a photo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from common.arrays import Size
from model.imported_network import FIRST_PHOTO, UNMEASURED, Pad, Whole
from model.inference.cores import available_memory, resident_bytes
from model.inference.processes.confinement import end_with_parent, limit
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from training.converting.graph import ConversionError
from training.converting.outputs import NetworkOutput
from training.converting.samples import MULTIPLES, SEED, Original, Sample, noise

CHILD = "from training.converting.cost import child; child()"
SMALL_MULTIPLES = (1, 2, 4, 7, 8, 12, 14, 16, 20, 24, 28)
TRIED_SIDE = 96  # of pictures on which multiples are tried, about
LEAST_SIDES = (32, 64, 128, 256)
MOST_SIZES = 9  # of photos; each has twice the pixels of the one before
MOST_SECONDS = 40.0  # of a processor, for one photo: a third of the time after which the service takes a call for stuck
MARGIN = 1.25  # of memory and time, which differ between runs


def whole_sides(original: Original, output: NetworkOutput, pad: Pad = "zero") -> Whole:
    """The least multiple of sides, and the least side, at which the network maps the whole picture. Nothing is measured."""
    multiple = least = output.multiple
    if original.input.sides == (None, None):
        multiple = next((each for each in sorted({*SMALL_MULTIPLES, *MULTIPLES}) if _takes(original, output, each)), multiple)
        sides = [-(-side // multiple) * multiple for side in LEAST_SIDES]
        least = next((side for side in sides if _is_mapped(original, output, (side, side))), sides[-1])
    return Whole(multiple, least, pad, UNMEASURED)


def _takes(original: Original, output: NetworkOutput, multiple: int) -> bool:
    """Whether it maps pictures of four sides that follow one another, so that few are multiples of more."""
    first = TRIED_SIDE // multiple | 1
    sizes = [(rows * multiple, columns * multiple) for rows, columns in ((first, first + 1), (first + 3, first + 2))]
    return all(_is_mapped(original, output, size) for size in sizes)


def _is_mapped(original: Original, output: NetworkOutput, size: Size) -> bool:
    try:
        values = original(noise(size, SEED))
    except ConversionError:
        return False
    return Sample(size, 1, values).maps.get(output.name) == (output.layout, output.stride)


def measured(path: Path, whole: Whole, memory_mb: int) -> Whole:
    """What photos cost a converted file, up to the largest that takes neither too much memory nor too much time.

    Each runs in a process of its own. Raises `ConversionError` if the first one takes too much, or the file takes no small one.
    """
    curve = list[tuple[int, int, float]]()
    for power in range(MOST_SIZES):
        size = round(FIRST_PHOTO[0] * 2 ** (power / 2)), round(FIRST_PHOTO[1] * 2 ** (power / 2))
        arguments = [str(path), *map(str, size), str(memory_mb)]
        result = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
        count, seconds = (0, MOST_SECONDS) if result.returncode else json.loads(result.stdout)
        if seconds >= MOST_SECONDS:
            break
        height, width = whole.extended(size)
        last = curve[-1] if curve else (0, 0, 0.0)
        curve.append((height * width, max(last[1], int(count * MARGIN)), max(last[2], seconds * MARGIN)))
    if not curve:
        words = f"a photo of {FIRST_PHOTO[1]}x{FIRST_PHOTO[0]} as a whole fails, or takes too much memory or time"
        raise ConversionError(f"{words}: leave out --tile whole")
    return replace(whole, curve=tuple(curve))


def child() -> None:
    """The process that runs a file on one photo, and prints the bytes and the seconds of a processor that this took.

    It begins with a photo of one pixel, which every file must take.
    """
    end_with_parent(os.getppid())
    path, height, width, memory_mb = sys.argv[1:]
    runtime = OpenVINORuntime(Path(path), threads=1)
    runtime.logits([noise((1, 1), SEED)])
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now's: proc(5)
    before = resident_bytes(os.getpid())
    limit(min(int(memory_mb) << 20, (available_memory() or sys.maxsize) // 2), 2 * MOST_SECONDS)
    start = time.process_time()
    runtime.logits([noise((int(height), int(width)), SEED)])
    seconds = time.process_time() - start
    # `ru_maxrss` would count the process that started this one
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    print(json.dumps([max(1, int(peak[1]) * 1024 - before), seconds]))
