"""How large the regions of a class typically are."""

from __future__ import annotations

import numpy as np
import pytest

from training.survey.shapes import thin_ids, typical_extents


def test_a_typical_region_is_a_square_of_its_area_as_a_share_of_the_longer_side() -> None:
    ids = np.zeros((50, 100), np.uint8)
    ids[:20, :20] = 1
    ids[30:40, 30:70] = 2
    assert typical_extents(ids) == pytest.approx({0: np.sqrt(5000 - 400 - 400) / 100, 1: 0.2, 2: 0.2})


def test_of_several_regions_the_middle_of_their_pixels_counts() -> None:
    """So specks do not."""
    ids = np.zeros((60, 80), np.uint8)
    ids[10:34, 10:34] = 1
    ids[50, 0:40:2] = 1
    assert typical_extents(ids)[1] == pytest.approx(0.3)


def test_large_masks_give_the_shares_of_small_ones() -> None:
    ids = np.zeros((30, 40), np.uint8)
    ids[6:15, 6:15] = 1
    large = ids.repeat(100, 0).repeat(100, 1)
    assert typical_extents(large) == pytest.approx(typical_extents(ids), rel=0.01)


def test_noise_has_no_typical_region() -> None:
    noise = np.random.default_rng(0).integers(0, 200, (600, 600), dtype=np.uint8)
    assert typical_extents(noise) == {}


@pytest.mark.parametrize("scale", [1, 3, 12])
def test_lines_are_thin_and_wide_or_small_regions_are_not(scale: int) -> None:
    """Whatever the mask's size, which is 200x300 to 2400x3600 here."""
    ids = np.zeros((200, 300), np.uint8)
    ids[100:102, 20:280] = 1
    ids[20:60, 20:80] = 2
    ids[150, 10:14] = 3
    assert thin_ids(ids.repeat(scale, 0).repeat(scale, 1)) == [1]


def test_a_mask_smaller_than_the_square_has_no_lines() -> None:
    assert thin_ids(np.zeros((2, 300), np.uint8)) == []
