"""Working sizes, and images scaled to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.scaling import Image, Side, resize_image, working_size


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((300, 400), "native", (300, 400)),
        ((9000, 20), "native", (9000, 20)),
        ((300, 400), "auto", (300, 400)),
        ((400, 512), "auto", (400, 512)),
        ((64, 128), "auto", (128, 256)),
        ((128, 64), "auto", (256, 128)),
        ((1500, 2048), "auto", (375, 512)),
        ((1, 1), "auto", (256, 256)),
        ((1, 5000), "auto", (1, 512)),
        ((300, 400), 200, (150, 200)),
        ((300, 400), 1000, (750, 1000)),
        ((3, 1000), 32, (1, 32)),
        ((100, 100), 16384, (16384, 16384)),
    ],
    ids=str,
)
def test_the_working_size_follows_the_side_asked_for(size: tuple[int, int], side: Side, expected: tuple[int, int]) -> None:
    assert working_size(size, side, (256, 512)) == expected


@settings(deadline=None)
@given(st.tuples(st.integers(1, 9000), st.integers(1, 9000)))
def test_auto_keeps_the_longer_side_in_range_and_the_proportions(size: tuple[int, int]) -> None:
    height, width = working_size(size, "auto", (256, 512))
    assert 256 <= max(height, width) <= 512
    factor = max(height, width) / max(size)
    assert height == pytest.approx(size[0] * factor, abs=0.51) or height == 1
    assert width == pytest.approx(size[1] * factor, abs=0.51) or width == 1


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(resize_image(image, (5, 7)), image)


def test_shrinking_averages_all_pixels() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::8] = 240
    inside = resize_image(image, (8, 8))[:, 1:-1].astype(int)
    assert np.abs(inside - 30).max() <= 2


def test_enlarging_interpolates_between_pixel_centres() -> None:
    image = np.array([[[0, 10, 200], [100, 30, 0]]], np.uint8)
    line = resize_image(image, (1, 4))[0].astype(int)
    assert np.abs(line - [[0, 10, 200], [25, 15, 150], [75, 25, 50], [100, 30, 0]]).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (31, 32), (33, 500), (7, 2)], ids=str)
def test_a_resized_image_has_the_size_asked_for_and_keeps_a_plain_colour(size: tuple[int, int]) -> None:
    image = np.full((20, 30, 3), (10, 100, 250), np.uint8)
    image.flags.writeable = False
    resized = resize_image(image, size)
    assert (resized.shape, resized.dtype) == ((*size, 3), np.uint8)
    assert (resized == (10, 100, 250)).all()


FOUR = np.random.default_rng(1).integers(0, 256, (40, 40, 4), np.uint8)


@pytest.mark.parametrize("size", [(13, 17), (90, 61)], ids=str)
@pytest.mark.parametrize(
    "view",
    [FOUR[..., :3], FOUR[..., 1:], FOUR.swapaxes(0, 1)[..., :3], FOUR[5:30, 3:24, :3], FOUR[::2, :, :3]],
    ids=["the first three", "the last three", "turned", "cut out", "every other row"],
)
def test_how_an_image_lies_in_memory_changes_nothing(view: Image, size: tuple[int, int]) -> None:
    assert np.array_equal(resize_image(view, size), resize_image(np.ascontiguousarray(view), size))
