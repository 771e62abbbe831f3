"""Working sizes, and scaling bands of logits against interpolating the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.merging import Band
from model.scaling import CHUNK_ROWS, LogitsScaler, Side, resize_image, working_size

SIDES = st.integers(1, 90)
SIZES = st.tuples(SIDES, SIDES)


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


def scaled_in_bands(logits: Tensor, target: tuple[int, int], cuts: Sequence[int]) -> list[Band]:
    """What a scaler gives for these logits, cut into bands at these rows."""
    source = logits.shape[1], logits.shape[2]
    scaler = LogitsScaler(source, target)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < source[0]}), source[0]]
    return [piece for top, bottom in pairwise(edges) for piece in scaler.push(Band(top, logits[:, top:bottom]))]


@settings(deadline=None, max_examples=200)
@given(SIZES, SIZES, st.lists(SIDES, max_size=5))
def test_scaled_bands_are_the_whole_map_interpolated(source: tuple[int, int], target: tuple[int, int], cuts: list[int]) -> None:
    logits = torch.rand(2, *source, generator=torch.Generator().manual_seed(0))
    found = torch.cat([band.logits for band in scaled_in_bands(logits, target, cuts)], 1)
    expected = F.interpolate(logits[None], size=target, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@settings(deadline=None)
@given(SIZES, st.tuples(st.integers(1, 300), st.integers(1, 20)), st.lists(SIDES, max_size=5))
def test_scaled_bands_come_in_order_and_a_few_rows_at_a_time(
    source: tuple[int, int], target: tuple[int, int], cuts: list[int]
) -> None:
    bands = scaled_in_bands(torch.zeros(1, *source), target, cuts)
    ends = np.cumsum([band.logits.shape[1] for band in bands]).tolist()
    assert [band.top for band in bands] == [0, *ends[:-1]]
    assert ends[-1] == target[0]
    assert all(0 < band.logits.shape[1] <= CHUNK_ROWS for band in bands)
    assert {band.logits.shape[2] for band in bands} == {target[1]}


def test_without_scaling_logits_pass_unchanged() -> None:
    logits = torch.randn(3, 200, 11)
    bands = scaled_in_bands(logits, (200, 11), [130])
    assert [band.top for band in bands] == [0, 64, 128, 130, 194]
    assert torch.equal(torch.cat([band.logits for band in bands], 1), logits)


def test_a_scaler_keeps_one_row_of_what_it_has_seen() -> None:
    scaler = LogitsScaler((400, 10), (10, 10))
    for top in range(0, 400, 100):
        list(scaler.push(Band(top, torch.zeros(2, 100, 10))))
    held = [value for value in vars(scaler).values() if isinstance(value, Tensor) and value.ndim == 3]
    assert sum(tensor.untyped_storage().nbytes() for tensor in held) == 2 * 10 * 4
