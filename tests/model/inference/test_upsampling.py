"""From cells to pixels: against interpolation by its definition, brute-force argmax and softmax, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Mask, Pixels
from model.architecture import Grid
from model.inference.merging import Band, Logits
from model.inference.upsampling import BAND_PIXELS, LOGITS_PIXELS, ClassifiedRows, LogitsUpsampler, Rows
from tests.support.model.interpolation import interpolate

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
    edges = [0, *sorted({cut_row for cut_row in cuts if 0 < cut_row < height}), height]
    return [rows for top, bottom in pairwise(edges) for rows in upsampler.push(Band(top, cells[top:bottom]))]


def whole(bands: Sequence[Rows]) -> Logits:
    return np.concatenate([part for rows in bands for _, part in rows.logits()], 1)


def ids_of(bands: Sequence[Rows]) -> Pixels:
    return np.concatenate([rows.class_ids() for rows in bands])


def noise(*shape: int) -> Logits:
    return np.random.default_rng(0).random(shape, np.float32)


@settings(deadline=None, max_examples=200)
@given(CELLS, STRIDES, GRIDS, SIZES, CUTS, st.integers(0, 31), st.integers(0, 31))
def test_pixels_are_interpolated_by_the_definition(
    cells: tuple[int, int], stride: int, grid: Grid, target: tuple[int, int], cuts: list[int], less_high: int, less_wide: int
) -> None:
    source = max(1, cells[0] * stride - less_high), max(1, cells[1] * stride - less_wide)
    logits = noise(2, *cells)
    result = whole(in_bands(logits, stride, grid, source, target, cuts))
    np.testing.assert_allclose(result, interpolate(logits, stride, grid, source, target), atol=1e-5)


@settings(deadline=None, max_examples=200)
@given(CELLS, STRIDES, GRIDS, SIZES, CUTS, st.integers(1, 6), st.sampled_from([1, 3, 30]))
def test_class_ids_are_the_highest_of_the_interpolated_logits(
    cells: tuple[int, int], stride: int, grid: Grid, target: tuple[int, int], cuts: list[int], classes: int, leading: int
) -> None:
    logits = noise(classes, *cells)
    logits[0] *= leading  # so that some neighbours agree
    bands = in_bands(logits, stride, grid, (cells[0] * stride, cells[1] * stride), target, cuts)
    ids, expected = ids_of(bands), whole(bands)
    assert (ids.dtype, ids.shape) == (np.uint8, target)
    logits_of_ids = np.take_along_axis(expected, ids[None], 0)[0]
    np.testing.assert_array_less(expected.max(0) - logits_of_ids, 1e-5)
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


@settings(deadline=None, max_examples=100)
@given(CELLS, SIZES, CUTS, st.sampled_from([1, 30]))
def test_bands_do_not_change_a_pixel(cells: tuple[int, int], target: tuple[int, int], cuts: list[int], leading: int) -> None:
    logits, source = noise(3, *cells), (cells[0] * 8, cells[1] * 8)
    logits[0] *= leading
    at_once, in_pieces = (in_bands(logits, 8, "corner", source, target, where) for where in ((), cuts))
    assert np.array_equal(whole(at_once), whole(in_pieces))
    assert np.array_equal(ids_of(at_once), ids_of(in_pieces))


@settings(deadline=None, max_examples=40)
@given(CELLS, st.tuples(st.integers(1, 3000), st.integers(1, 900)), CUTS)
def test_rows_come_in_order_a_bounded_number_at_a_time(
    cells: tuple[int, int], target: tuple[int, int], cuts: list[int]
) -> None:
    bands = in_bands(noise(2, *cells), 8, "corner", (cells[0] * 8, cells[1] * 8), target, cuts)
    heights = [len(rows.vertical.before) for rows in bands]
    assert [rows.top for rows in bands] == [0, *np.cumsum(heights)[:-1]]
    assert sum(heights) == target[0]
    parts = [part.shape[1] for rows in bands for _, part in rows.logits()]
    for rows_at_once, most in ((heights, BAND_PIXELS), (parts, LOGITS_PIXELS)):
        assert all(0 < height * target[1] <= max(target[1], most) for height in rows_at_once)


def softmax(logits: Logits, temperature: float) -> Floats:
    powers = np.exp((logits - logits.max(0)).astype(np.float64) / temperature)
    return np.asarray(powers / powers.sum(0))


def confidences(rows: Sequence[Rows], temperature: float) -> tuple[Pixels, ClassifiedRows]:
    """The confidence map, and what is said of all rows together, with and without that map."""
    ids = ids_of(rows)
    confidence = np.empty_like(ids)
    parts = np.split(confidence, [after.top for after in rows[1:]])
    with_map = [each.class_ids_and_confidence(temperature, part) for each, part in zip(rows, parts, strict=True)]
    without = [each.class_ids_and_confidence(temperature) for each in rows]
    for one, other in zip(with_map, without, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    maps, counts, sums = zip(*with_map, strict=True)
    return confidence, ClassifiedRows(np.concatenate(maps), np.sum(counts, 0), np.sum(sums, 0))


def agree(rows: Rows) -> Mask:
    """Whether the four cells from the one before each pixel on have one class (rows, width)."""
    winners = np.pad(rows.cells.argmax(2), ((0, 1), (0, 1)), mode="edge")
    down, right = rows.vertical.before[:, None], rows.horizontal.before[None]
    corners = [winners[down + below, right + beside] for below in (0, 1) for beside in (0, 1)]
    return np.all([corner == corners[0] for corner in corners], 0)


@settings(deadline=None, max_examples=150)
@given(CELLS, STRIDES, GRIDS, SIZES, CUTS, st.integers(1, 6), st.sampled_from([1, 3, 30]), st.sampled_from([0.5, 1.0, 2.5]))
def test_confidence_is_the_softmax_where_cells_disagree_and_between_the_cells_own_elsewhere(
    cells: tuple[int, int],
    stride: int,
    grid: Grid,
    target: tuple[int, int],
    cuts: list[int],
    classes: int,
    leading: int,
    temperature: float,
) -> None:
    logits = noise(classes, *cells) * 4
    logits[0] *= leading
    source = cells[0] * stride, cells[1] * stride
    rows = in_bands(logits, stride, grid, source, target, cuts)
    confidence, (ids, counts, sums) = confidences(rows, temperature)
    assert np.array_equal(ids, ids_of(rows))
    exact = np.take_along_axis(softmax(whole(rows), temperature), ids[None].astype(np.intp), 0)[0]
    of_cells = softmax(logits, temperature).max(0, keepdims=True)
    odds = np.log(of_cells / np.maximum(1 - of_cells, 1e-12)).astype(np.float32)
    between = 1 / (1 + np.exp(-whole(in_bands(odds, stride, grid, source, target, cuts))[0]))
    expected = np.where(np.concatenate([agree(each) for each in rows]), between, exact)
    np.testing.assert_allclose(confidence, 255 * expected, atol=0.5 + 255 * 1e-4)
    np.testing.assert_array_equal(counts, np.bincount(ids.reshape(-1), minlength=classes))
    of_class = np.bincount(ids.reshape(-1), expected.reshape(-1), classes)
    np.testing.assert_allclose(sums, of_class, atol=1e-4 * ids.size)


def test_a_sure_network_has_a_confidence_of_one() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1] = 500
    for some, sums in ((logits, [0, 1600, 0]), (logits[:1], [1600])):
        confidence, result = confidences(in_bands(some, 8, "corner", (16, 16), (40, 40)), 1.0)
        assert (confidence == 255).all()
        assert result.sums.tolist() == sums


def test_an_upsampler_keeps_one_row_of_cells_of_what_it_has_seen_until_the_last_row() -> None:
    upsampler = LogitsUpsampler((400, 10), 8, "corner", (3200, 80), (10, 10))
    sizes = []
    for top in range(0, 400, 100):
        list(upsampler.push(Band(top, np.zeros((100, 10, 2), np.float32))))
        arrays = [value for value in vars(upsampler).values() if isinstance(value, np.ndarray)]
        sizes.append(sum(array.nbytes if array.base is None else array.base.nbytes for array in arrays))
    assert sizes == [2 * 10 * 4] * 3 + [0]
