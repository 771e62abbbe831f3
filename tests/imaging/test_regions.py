"""Connected regions as run lengths, against pycocotools."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from pycocotools import mask as coco

from common.arrays import Mask, Pixels
from imaging.errors import AnswerTooLarge
from imaging.regions import ClassRegion, Regions, most_borders, most_regions
from imaging.runs import column_runs, encode_rle

Inside = Mask


def draw(counts: str, shape: tuple[int, ...]) -> Inside:
    pixels: Inside = coco.decode({"size": list(shape), "counts": counts}).astype(bool)
    return pixels


def regions_of(class_map: Pixels, ids: Iterable[int]) -> Regions:
    return Regions(column_runs(class_map), ids)


def find_regions(inside: Inside) -> list[ClassRegion]:
    """The regions of a mask."""
    return list(regions_of(inside.astype(np.uint8), [1]).masks())


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
        regions = find_regions(inside)
        total = np.zeros(shape, int)
        for region in regions:
            pixels = draw(region.counts, shape)
            rows, columns = np.nonzero(pixels)
            assert region.pixels == pixels.sum()
            left, top = columns.min(), rows.min()
            assert region.bbox == (left, top, columns.max() - left + 1, rows.max() - top + 1)
            assert encode_rle(column_runs(pixels.astype(np.uint8)), [1])["1"] == region.counts
            total += pixels
        np.testing.assert_array_equal(total, inside)


@pytest.mark.parametrize("inside", [serpentine(41, 30), serpentine(41, 30).T])
def test_a_region_that_winds_is_one(inside: Inside) -> None:
    (region,) = find_regions(inside)
    np.testing.assert_array_equal(draw(region.counts, inside.shape), inside)


def test_one_pass_gives_the_regions_of_all_classes_by_class_then_by_first_pixel() -> None:
    rng = np.random.default_rng(11)
    for _ in range(40):
        class_map = rng.integers(0, 5, rng.integers(1, 20, 2)).astype(np.uint8)
        together = regions_of(class_map, [3, 0, 4])
        assert together.ids == [region.id for region in together.masks()]
        apart = [region for id in (0, 3, 4) for region in regions_of(class_map, [id]).masks()]
        assert list(together.masks()) == apart


def test_each_pixel_is_of_one_region() -> None:
    rng = np.random.default_rng(5)
    class_map = rng.integers(0, 3, (14, 9)).astype(np.uint8)
    regions = regions_of(class_map, [0, 2])
    of_pixels = regions.at(np.arange(class_map.size)).reshape(class_map.shape)
    np.testing.assert_array_equal(of_pixels == -1, class_map == 1)
    for index, region in enumerate(regions.masks()):
        np.testing.assert_array_equal(of_pixels == index, draw(region.counts, class_map.shape))


def test_no_class_has_no_regions() -> None:
    assert not list(regions_of(np.zeros((3, 4), np.uint8), []).masks())
    assert not list(regions_of(np.zeros((3, 4), np.uint8), [7]).masks())


def test_too_many_borders_and_too_many_regions_are_refused_with_their_counts_and_a_way_out() -> None:
    stripes = np.broadcast_to((np.arange(400) % 2).astype(np.uint8)[:, None], (400, 400)).copy()
    with pytest.raises(AnswerTooLarge, match=f"159,600 borders.*at most {most_borders(stripes.size):,}.*mask=rle"):
        regions_of(stripes, [1])
    dots = np.zeros((200, 200), np.uint8)
    dots[::3, ::3] = 1
    with pytest.raises(AnswerTooLarge, match=f"4,489 regions.*at most {most_regions(dots.size):,}.*mask=rle"):
        regions_of(dots, [1])
    assert len(regions_of(dots, [0])) == 1
