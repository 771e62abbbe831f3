"""From cells to pixels: against interpolation by its definition, brute-force argmax and softmax, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.architecture import Grid
from model.inference.merging import Band, Logits
from model.inference.upsampling import BAND_PIXELS, LOGITS_PIXELS, LogitsUpsampler, Rows, winning_probability

SIDES = st.integers(1, 90)
SIZES = st.tuples(SIDES, SIDES)
CELLS = st.tuples(st.integers(1, 12), st.integers(1, 12))
STRIDES = st.sampled_from([1, 8, 16, 32])
CUTS = st.lists(st.integers(1, 12), max_size=5)
GRIDS = st.sampled_from(["corner", "half_pixel"])


def in_bands(
    logits: Logits, stride: int, grid: Grid, source: tuple[int, int], target: tuple[int, int], cuts: Sequence[int] = ()
) -> list[Rows]:
    """What an upsampler gives for this map (classes, rows, columns), cut into bands at these rows."""
    height, width = logits.shape[1:]
    upsampler = LogitsUpsampler((height, width), stride, grid, source, target)
    cells = np.ascontiguousarray(logits.transpose(1, 2, 0))
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < height}), height]
    return [rows for top, bottom in pairwise(edges) for rows in upsampler.push(Band(top, cells[top:bottom]))]


def whole(found: Sequence[Rows]) -> Logits:
    return np.concatenate([rows.logits() for rows in found], 1)


def ids_of(found: Sequence[Rows]) -> npt.NDArray[np.uint8]:
    return np.concatenate([rows.class_ids() for rows in found])


def noise(*shape: int) -> Logits:
    return np.random.default_rng(0).random(shape, np.float32)


def interpolated(logits: Logits, stride: int, grid: Grid, source: tuple[int, int], target: tuple[int, int]) -> Logits:
    """By definition: pixels of both images share their outer edges, and cells lie on their own pixels of the source."""

    def matrix(axis: int) -> npt.NDArray[np.float64]:
        places = ((np.arange(target[axis]) + 0.5) * source[axis] / target[axis] - 0.5).clip(0, source[axis] - 1)
        cells = logits.shape[1 + axis]
        centres = stride * np.arange(cells) + (0 if grid == "corner" else (stride - 1) / 2)
        return np.stack([np.interp(places, centres, row) for row in np.eye(cells)], 1)

    return np.asarray(matrix(0) @ logits.astype(np.float64) @ matrix(1).T, np.float32)


@settings(deadline=None, max_examples=200)
@given(CELLS, STRIDES, GRIDS, SIZES, CUTS, st.integers(0, 31), st.integers(0, 31))
def test_pixels_are_interpolated_by_the_definition(
    cells: tuple[int, int], stride: int, grid: Grid, target: tuple[int, int], cuts: list[int], less_high: int, less_wide: int
) -> None:
    source = max(1, cells[0] * stride - less_high), max(1, cells[1] * stride - less_wide)
    logits = noise(2, *cells)
    found = whole(in_bands(logits, stride, grid, source, target, cuts))
    np.testing.assert_allclose(found, interpolated(logits, stride, grid, source, target), atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("grid", ["corner", "half_pixel"])
@pytest.mark.parametrize("size", [(40, 56), (33, 50)], ids=str)
def test_without_scaling_it_is_the_networks_own_final_upsampling(grid: Grid, size: tuple[int, int]) -> None:
    import torch

    from model.networks.upsampling import FixedUpsample

    logits = noise(3, 5, 7)
    expected = FixedUpsample(8, grid).upsample(torch.from_numpy(logits)[None], size)[0].numpy()
    np.testing.assert_allclose(whole(in_bands(logits, 8, grid, size, size)), expected, atol=1e-5)


@settings(deadline=None, max_examples=200)
@given(CELLS, STRIDES, GRIDS, SIZES, CUTS, st.integers(1, 6), st.sampled_from([1, 3, 30]))
def test_class_ids_are_the_highest_of_the_interpolated_logits(
    cells: tuple[int, int], stride: int, grid: Grid, target: tuple[int, int], cuts: list[int], classes: int, leading: int
) -> None:
    logits = noise(classes, *cells)
    logits[0] *= leading  # so that some neighbours agree
    found = in_bands(logits, stride, grid, (cells[0] * stride, cells[1] * stride), target, cuts)
    ids, expected = ids_of(found), whole(found)
    assert (ids.dtype, ids.shape) == (np.uint8, target)
    chosen = np.take_along_axis(expected, ids[None], 0)[0]
    np.testing.assert_array_less(expected.max(0) - chosen, 1e-5)
    if classes > 1:
        best = np.sort(expected, 0)
        clear = best[-1] - best[-2] > 1e-5
        assert np.array_equal(ids[clear], expected.argmax(0)[clear])


def test_a_class_that_wins_between_cells_alone_is_found() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0], [4.0, 4.0]], np.float32)[:, None, :]
    assert ids_of(in_bands(logits, 8, "corner", (8, 16), (8, 16)))[0].tolist() == [0, 0, *[2] * 5, *[1] * 9]


def test_of_equal_logits_the_lowest_id_wins() -> None:
    logits = np.broadcast_to(np.float32([0, 2, 2, 2])[:, None, None], (4, 3, 3))
    assert (ids_of(in_bands(logits, 8, "corner", (24, 24), (40, 40))) == 1).all()


def test_the_highest_class_id_fits() -> None:
    logits = np.zeros((255, 2, 2), np.float32)
    logits[254] = 1
    assert (ids_of(in_bands(logits, 8, "corner", (16, 16), (3, 3))) == 254).all()


@settings(deadline=None, max_examples=100)
@given(CELLS, SIZES, CUTS, st.sampled_from([1, 30]))
def test_bands_do_not_change_a_pixel(cells: tuple[int, int], target: tuple[int, int], cuts: list[int], leading: int) -> None:
    logits, source = noise(3, *cells), (cells[0] * 8, cells[1] * 8)
    logits[0] *= leading
    at_once, cut = (in_bands(logits, 8, "corner", source, target, where) for where in ((), cuts))
    assert np.array_equal(whole(at_once), whole(cut))
    assert np.array_equal(ids_of(at_once), ids_of(cut))


@settings(deadline=None, max_examples=40)
@given(CELLS, st.tuples(st.integers(1, 3000), st.integers(1, 900)), CUTS)
def test_rows_come_in_order_a_bounded_number_at_a_time_and_in_smaller_parts(
    cells: tuple[int, int], target: tuple[int, int], cuts: list[int]
) -> None:
    found = in_bands(noise(2, *cells), 8, "corner", (cells[0] * 8, cells[1] * 8), target, cuts)
    parts = [part for rows in found for part in rows.parts()]
    for pieces, most in ((found, BAND_PIXELS), (parts, LOGITS_PIXELS)):
        heights = [len(piece.vertical.before) for piece in pieces]
        assert [piece.top for piece in pieces] == [0, *np.cumsum(heights)[:-1]]
        assert sum(heights) == target[0]
        assert all(0 < height * target[1] <= max(target[1], most) for height in heights)
    assert np.array_equal(whole(parts), whole(found))
    assert np.array_equal(ids_of(parts), ids_of(found))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_probability_is_the_softmax_of_the_given_class(temperature: float) -> None:
    logits = noise(5, 30, 40) * 9
    ids = np.random.default_rng(1).integers(0, 5, (30, 40), np.uint8)
    powers = np.exp(logits.astype(np.float64) / temperature)
    expected = np.take_along_axis(powers / powers.sum(0), ids[None], 0)[0]
    np.testing.assert_allclose(winning_probability(logits.copy(), ids, temperature), expected, atol=1e-6)


def test_an_upsampler_keeps_one_row_of_cells_of_what_it_has_seen_until_the_last_row() -> None:
    upsampler = LogitsUpsampler((400, 10), 8, "corner", (3200, 80), (10, 10))
    held = []
    for top in range(0, 400, 100):
        list(upsampler.push(Band(top, np.zeros((100, 10, 2), np.float32))))
        kept = [value for value in vars(upsampler).values() if isinstance(value, np.ndarray)]
        held.append(sum(array.nbytes if array.base is None else array.base.nbytes for array in kept))
    assert held == [2 * 10 * 4] * 3 + [0]
