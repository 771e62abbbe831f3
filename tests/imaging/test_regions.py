"""Connected regions as run lengths, against pycocotools and the outlines of `polygons`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco

from imaging.polygons import trace
from imaging.regions import find_regions
from imaging.rle import encode_rle

Inside = npt.NDArray[np.bool_]


def drawn(counts: str, shape: tuple[int, ...]) -> Inside:
    pixels: Inside = coco.decode({"size": list(shape), "counts": counts}).astype(bool)
    return pixels


def serpentine(height: int, width: int) -> Inside:
    """One region that winds through the whole image."""
    inside = np.zeros((height, width), bool)
    inside[::2] = True
    inside[1::4, -1] = True
    inside[3::4, 0] = True
    return inside


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5), (20, 31)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
def test_regions_are_disjoint_connected_and_all_of_the_mask(shape: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        inside = rng.random(shape) < share
        regions = list(find_regions(inside))
        assert len(regions) == len(trace(inside, 0))
        total = np.zeros(shape, int)
        for region in regions:
            pixels = drawn(region.counts, shape)
            rows, columns = np.nonzero(pixels)
            assert region.pixels == pixels.sum()
            left, top = columns.min(), rows.min()
            assert region.bbox == (left, top, columns.max() - left + 1, rows.max() - top + 1)
            assert encode_rle(pixels.astype(np.uint8), [1])["1"] == region.counts
            total += pixels
        np.testing.assert_array_equal(total, inside)


def test_pixels_that_touch_at_a_corner_are_two_regions() -> None:
    assert len(list(find_regions(np.eye(3, dtype=bool)))) == 3


@pytest.mark.parametrize("inside", [serpentine(41, 30), serpentine(41, 30).T])
def test_a_region_that_winds_is_one(inside: Inside) -> None:
    (region,) = find_regions(inside)
    np.testing.assert_array_equal(drawn(region.counts, inside.shape), inside)


def test_a_region_over_the_end_of_a_column_is_one_run() -> None:
    (region,) = find_regions(np.ones((4, 3), bool))
    assert region.counts == coco.frPyObjects({"size": [4, 3], "counts": [0, 12]}, 4, 3)["counts"].decode()


def test_a_check_ends_the_work_after_any_region() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        list(find_regions(np.eye(5, dtype=bool), check))
    assert calls == 2
