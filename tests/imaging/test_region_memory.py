"""What an answer of regions is promised at most bounds what it takes, in a process of its own, on maps at its limits."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.imaging.peaks import printed
from tests.support.variants import long

PROGRAM = """
import ast, sys
import numpy as np
from imaging.answer import SegmentedImage, Segmentation
from imaging.rendering import Rendering
from model.labels import numbered_labels

def answer(height, width):
    class_map = np.ones((height, width), np.uint8)
    class_map[1:-1:4, 1:-1:4] = 0  # four borders for each hole
    return SegmentedImage(Segmentation(class_map), numbered_labels(["background", "sieve"]), {}, {})

rendering, size = Rendering(**ast.literal_eval(sys.argv[1])), (int(sys.argv[2]), int(sys.argv[3]))
answer(40, 40).encode(rendering)
large, before = answer(*size), resident("VmRSS")
large.encode(rendering)
print(rendering.memory_bytes(size, 2), resident("VmHWM") - before)
"""
POLYGONS: dict[str, Any] = {"format": "coco", "mask": "polygons", "tolerance": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("rendering", "size"),
    [
        (POLYGONS, (630, 630)),
        *long((POLYGONS, (1410, 1410)), (POLYGONS | {"topology": "shared"}, (630, 630))),
        (POLYGONS | {"format": "json", "classes": ("sieve",), "topology": "shared"}, (630, 630)),
        (POLYGONS | {"format": "json", "tolerance": 1}, (1, 100_000)),
        *long((POLYGONS | {"format": "json", "tolerance": 1}, (100_000, 1))),
    ],
    ids=["coco", "large coco", "coco shared", "json shared", "a row", "a column"],
)
def test_one_region_of_the_longest_outline_or_the_most_holes_stays_within_its_promise(
    rendering: dict[str, Any], size: tuple[int, int]
) -> None:
    promise, peak_bytes = map(int, printed(PROGRAM, repr(rendering), *map(str, size)).split())
    assert peak_bytes < promise < 6 * peak_bytes
