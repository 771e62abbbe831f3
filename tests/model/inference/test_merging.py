"""Merging: against sums made at once, against networks that see one pixel, and by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Pixels
from model.architecture import Grid
from model.inference import merging
from model.inference.merging import Band, BandMerger, Logits
from model.inference.tiling import TilePlan, axis_weights, plan_tiles

SIDES = st.integers(1, 300)
TILES = st.integers(1, 4).map(lambda units: 32 * units)
PLANS = st.builds(
    plan_tiles, st.tuples(SIDES, SIDES), st.tuples(TILES, TILES), st.floats(0, 0.5), st.sampled_from(["mean", "hann"])
)
GRIDS: tuple[Grid, Grid] = ("corner", "half_pixel")


def bands(plan: TilePlan, tiles: Iterable[Logits], grid: Grid = "corner") -> list[Band]:
    merger = BandMerger(plan, grid)
    return [band for tile in tiles for band in merger.add(tile)]


def merge(plan: TilePlan, tiles: Iterable[Logits], grid: Grid = "corner") -> Logits:
    """The averaged logits (classes, rows, columns) of all tiles."""
    return np.concatenate([band.logits for band in bands(plan, tiles, grid)]).transpose(2, 0, 1)


def noise(*shape: int) -> Logits:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def full(plan: TilePlan, *values: float) -> list[Logits]:
    """Tiles of one class, each of one value."""
    return [np.full((1, *plan.tile), value, np.float32) for value in values]


@settings(deadline=None, max_examples=60)
@given(PLANS)
def test_a_network_that_sees_one_pixel_gives_the_same_in_tiles_as_at_once(plan: TilePlan) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*plan.size, 3), np.uint8)
    weight, bias = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), np.linspace(0, 1, 4, dtype=np.float32)

    def network(pixels: Pixels) -> Logits:
        logits: Logits = (weight @ (pixels / np.float32(255)).transpose(2, 0, 1).reshape(3, -1) + bias[:, None]).reshape(
            4, *pixels.shape[:2]
        )
        return logits

    merged_logits = merge(plan, map(network, plan.tiles(image)))
    np.testing.assert_allclose(merged_logits[:, : plan.size[0], : plan.size[1]], network(image), atol=1e-5)


@settings(deadline=None, max_examples=100)
@given(PLANS, st.sampled_from([1, 8, 16, 32]), st.sampled_from(GRIDS))
def test_bands_are_the_sum_of_all_tiles_weighed_as_the_pixels_that_cells_lie_on(
    plan: TilePlan, stride: int, grid: Grid
) -> None:
    middle = 0 if grid == "corner" else stride // 2
    row_weights, column_weights = (
        axis_weights(*axis, plan.blend) for axis in zip((plan.tops, plan.lefts), plan.tile, strict=True)
    )
    tiles = noise(len(plan), 2, plan.tile[0] // stride, plan.tile[1] // stride)
    total = np.zeros((2, (plan.tops[-1] + plan.tile[0]) // stride, (plan.lefts[-1] + plan.tile[1]) // stride))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, len(plan.lefts))
        weights = np.outer(row_weights[row], column_weights[column])[middle::stride, middle::stride]
        top, left = plan.tops[row] // stride, plan.lefts[column] // stride
        total[:, top : top + tile.shape[1], left : left + tile.shape[2]] += tile * weights
    result = bands(plan, tiles, grid)
    assert all(band.logits.dtype == np.float32 for band in result)
    np.testing.assert_allclose(merge(plan, tiles, grid), total, atol=1e-5)
    ends = np.cumsum([len(band.logits) for band in result]).tolist()
    assert [band.top for band in result] == [0, *ends[:-1]]
    assert ends[-1] == total.shape[1]
    assert all(band.top % (32 // stride) == 0 for band in result)


@pytest.mark.parametrize("joined", [1, 200_000, 10_000_000])
def test_a_row_of_tiles_is_all_that_is_kept(joined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "JOINED_BYTES", joined)
    plan = plan_tiles((400, 500), (128, 160))
    strip_bytes = 3 * 4 * 32 * (plan.lefts[-1] + 160)
    merger, logits = BandMerger(plan, "corner"), noise(3, 128, 160)
    row_bytes = 3 * 4 * 128 * (plan.lefts[-1] + 160)
    for index in range(len(plan)):
        bands = merger.add(logits)
        kept = [*merger._strips, *(band.logits for band in bands)]
        assert sum(each.nbytes for each in kept) <= row_bytes
        assert bool(bands) == ((index + 1) % len(plan.lefts) == 0)
        assert all(band.logits.nbytes <= max(joined, strip_bytes) for band in bands)
        assert all(band.logits.base is None for band in bands)  # or the memory of all would stay for one of them
    assert not merger._strips


def test_tiles_averaged_by_hand() -> None:
    two, four = plan_tiles((20, 96), (32, 64), 0.0), plan_tiles((96, 96), (64, 64), 0.5)
    line = merge(two, full(two, 1, 3))
    assert line.shape == (1, 32, 96)
    assert [set(line[0, :, start : start + 32].flat) for start in (0, 32, 64)] == [{1}, {2}, {3}]
    assert merge(four, full(four, 1, 3, 5, 11))[0, ::32, ::32].tolist() == [[1, 2, 3], [3, 5, 7], [5, 8, 11]]


@pytest.mark.parametrize("size", [(20, 20), (70, 100)], ids=["one tile", "many tiles"])
def test_a_tile_more_than_the_plan_has_is_refused(size: tuple[int, int]) -> None:
    plan = plan_tiles(size, (64, 64))
    merger = BandMerger(plan, "corner")
    for _ in range(len(plan)):
        merger.add(np.zeros((2, *plan.tile), np.float32))
    with pytest.raises(ValueError, match=f"{len(plan)} tiles"):
        merger.add(np.zeros((2, *plan.tile), np.float32))


@pytest.mark.parametrize(
    ("first", "shape", "message"),
    [
        *(
            ([], shape, rf"64x64 .*got \({shape[1]}, {shape[2]}\)")
            for shape in [(2, 64, 32), (2, 8, 16), (2, 65, 65), (2, 0, 0)]
        ),
        *(([(2, 8, 8)], shape, rf"8x8, got \({shape[1]}, {shape[2]}\)") for shape in [(2, 64, 64), (2, 8, 16), (2, 9, 8)]),
    ],
    ids=str,
)
def test_logits_of_no_stride_of_the_tile_or_of_another_size_than_the_first_are_refused(
    first: list[tuple[int, ...]], shape: tuple[int, ...], message: str
) -> None:
    merger = BandMerger(plan_tiles((70, 100), (64, 64)), "corner")
    for each in first:
        merger.add(np.zeros(each, np.float32))
    with pytest.raises(ValueError, match=message):
        merger.add(np.zeros(shape, np.float32))
