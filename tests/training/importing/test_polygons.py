"""Objects are drawn as pycocotools draws them on the whole image, in memory that their size and number bound."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from common.arrays import Mask
from tests.support.checkout import ROOT
from tests.support.polling import HANG_S
from training.importing.objects import Drawing, fill
from training.importing.omissions import Omissions
from training.importing.outlines import encode_mask
from training.importing.run_lengths import paint_runs

Bits = Mask


def whole(parts: list[list[float]], size: tuple[int, int]) -> Bits:
    merged = run_lengths.merge(run_lengths.frPyObjects(parts, *size))
    bits: Bits = run_lengths.decode(merged).astype(bool)
    return bits


def filled(parts: list[list[float]], size: tuple[int, int]) -> Bits:
    bits = np.zeros(size, bool)
    paint_runs(bits, fill(parts, size), True)
    return bits


def random_polygons(rng: np.random.Generator, count: int, step: float = 0.0) -> list[list[float]]:
    """Polygons of some points within and around 100x100 pixels, at multiples of a step if there is one."""
    parts = [rng.uniform(-30, 130, 2 * rng.integers(3, 12)) for _ in range(count)]
    return [(np.round(part / step) * step if step else part).tolist() for part in parts]


@pytest.mark.parametrize("seed", range(20))
def test_polygons_have_the_pixels_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 110, 2).tolist())
    parts = random_polygons(rng, int(rng.integers(1, 50)), rng.choice([0, 0.1, 0.2, 0.5, 1]))
    assert np.array_equal(filled(parts, size), whole(parts, size))


@pytest.mark.parametrize("seed", range(5))
def test_objects_lie_over_each_other_by_their_area_on_the_whole_image(seed: int) -> None:
    """Polygons, run lengths of both kinds, and crowds: as if each were drawn on an image of its own."""
    rng = np.random.default_rng(seed)
    size = (90, 70)
    objects: list[dict[str, Any]] = []
    regions = []
    for index in range(12):
        parts = random_polygons(rng, int(rng.integers(1, 4)))
        bits = whole(parts, size)
        if index % 3 == 1:
            bits &= rng.random(size) < 0.5
        edges = np.flatnonzero(np.diff(bits.flatten(order="F"), prepend=False, append=False))
        counts = np.diff([0, *edges, bits.size]).tolist()
        segmentation = (parts, encode_mask(bits, size), {"size": list(size), "counts": counts})[index % 3]
        objects.append(
            {"id": index, "image_id": 1, "category_id": index % 4, "segmentation": segmentation, "iscrowd": index % 2}
        )
        regions.append((int(bits.sum()), 255 if index % 2 else index % 4, bits))
    expected = np.zeros(size, np.uint8)
    for _, value, bits in sorted(regions, key=lambda region: -region[0]):
        expected[bits] = value
    omissions = Omissions()
    mask = Drawing({0: 0, 1: 1, 2: 2, 3: 3}, omissions, "labels.json", "void").mask(objects, size)
    assert not omissions.object_errors
    assert np.array_equal(mask, expected)


def test_an_outline_that_is_too_long_inside_the_image_is_an_error() -> None:
    zigzag = [float(value) for row in range(3000) for value in (0, row, 4000, row + 0.5)]
    assert not filled([[200, 0, 300, 0, 300, 50]], (100, 100)).any()
    with pytest.raises(ValueError, match=r"a polygon of 6000 points has an outline of [\d,]+ pixels, of which at most"):
        fill([zigzag], (3000, 4000))


DRAW = """
import resource
import sys
import numpy as np
from training.importing.objects import Drawing
from training.importing.omissions import Omissions

def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]

rng = np.random.default_rng(0)
size = (3000, 4000)
few, many = ([
    {"id": i, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    for i in range(count)
    for segmentation in (
        [square(*rng.uniform(0, 2900, 2).tolist(), 10.0)],
        {"size": list(size), "counts": [3000 * i + 5, 10, 12_000_000 - 3000 * i - 15]},
    )
] for count in (1, 300))

def peak(objects):
    omissions = Omissions()
    mask = Drawing({1: 1}, omissions, "labels.json").mask(objects, size)
    assert not omissions.object_errors and mask.any()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

one = peak(few)
print(one, peak(many))
"""


def test_many_small_objects_of_a_large_image_take_little_memory() -> None:
    """300 of 10x10 pixels on 12 megapixels."""
    result = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, cwd=ROOT, timeout=HANG_S, check=True)
    one, many = map(int, result.stdout.split())  # KiB
    assert many < one + 50_000
