"""From cells to pixels: against interpolation of the whole map at once, and of each pixel by hand."""

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

from model.merging import Band, BandMerger
from model.pixels import CHUNK, FEW, LogitsScaler, Rows
from model.tiling import TilePlan, plan_tiles
from model.upsampling import FixedUpsample, Grid
from model.zones import Zones

SIDES = st.integers(1, 90)
SIZES = st.tuples(SIDES, SIDES)
CELLS = st.tuples(st.integers(1, 12), st.integers(1, 12))
CUTS = st.lists(SIDES, max_size=5)
GRIDS: tuple[Grid, Grid] = ("corner", "half_pixel")


def in_bands(
    logits: Tensor, stride: int, grid: Grid, source: tuple[int, int], target: tuple[int, int], cuts: Sequence[int]
) -> list[Rows]:
    """What a scaler gives for this map (classes, rows, columns), cut into bands at these rows."""
    scaler = LogitsScaler((Zones((0, logits.shape[1])), Zones((0, logits.shape[2]))), stride, grid, source, target)
    kept = F.pad(logits[None], (1, 1, 1, 1), mode="replicate")[0]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < kept.shape[1]}), kept.shape[1]]
    return [rows for top, bottom in pairwise(edges) for rows in scaler.push(Band(top, kept[:, top:bottom]))]


def whole(found: Sequence[Rows]) -> Tensor:
    return torch.cat([rows.logits() for rows in found]).permute(2, 0, 1)


def merged(plan: TilePlan, tiles: Sequence[Tensor], grid: Grid) -> Tensor:
    """The averaged logits of all of the image's pixels."""
    merger = BandMerger(plan, grid)
    bands = [band for tile in tiles if (band := merger.add(tile))]
    scaler = LogitsScaler((merger.vertical, merger.horizontal), merger.stride, grid, plan.size, plan.size)
    return whole([rows for band in bands for rows in scaler.push(band)])


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@settings(deadline=None, max_examples=200)
@given(SIZES, SIZES, CUTS)
def test_at_stride_one_the_map_is_interpolated_as_torch_does(
    source: tuple[int, int], target: tuple[int, int], cuts: list[int]
) -> None:
    logits = noise(2, *source)
    expected = F.interpolate(logits[None], size=target, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(whole(in_bands(logits, 1, "corner", source, target, cuts)), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=100)
@given(CELLS, st.sampled_from([8, 16, 32]), st.sampled_from(GRIDS), CUTS, st.integers(0, 31), st.integers(0, 31))
def test_without_scaling_it_is_the_networks_own_final_upsampling(
    cells: tuple[int, int], stride: int, grid: Grid, cuts: list[int], less_high: int, less_wide: int
) -> None:
    size = max(1, cells[0] * stride - less_high), max(1, cells[1] * stride - less_wide)
    logits = noise(3, *cells)
    expected = FixedUpsample(stride, grid).upsample(logits[None], size)[0]
    torch.testing.assert_close(whole(in_bands(logits, stride, grid, size, size, cuts)), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        plan_tiles, st.tuples(st.integers(1, 300), st.integers(1, 300)), st.just((96, 64)), st.floats(0, 0.5), st.just("mean")
    ),
    st.sampled_from([8, 16, 32]),
    st.sampled_from(GRIDS),
)
def test_averaging_cells_is_averaging_the_pixels_of_every_tile(plan: TilePlan, stride: int, grid: Grid) -> None:
    generator, final = torch.Generator().manual_seed(0), FixedUpsample(stride, grid)
    tiles = [torch.randn(2, *(side // stride for side in plan.tile), generator=generator) for _ in range(len(plan))]
    upsampled = [final.upsample(tile[None], plan.tile)[0] for tile in tiles]
    torch.testing.assert_close(merged(plan, tiles, grid), merged(plan, upsampled, grid), atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=100)
@given(CELLS, st.sampled_from([1, 8, 16]), st.sampled_from(GRIDS), SIZES, CUTS, st.integers(2, 6))
def test_class_ids_are_those_of_the_interpolated_logits(
    cells: tuple[int, int], stride: int, grid: Grid, target: tuple[int, int], cuts: list[int], classes: int
) -> None:
    source = cells[0] * stride, cells[1] * stride
    found = in_bands(noise(classes, *cells), stride, grid, source, target, cuts)
    best, second = (logits := whole(found)).topk(2, 0).values
    clear = best - second > 1e-5
    ids = torch.cat([rows.class_ids() for rows in found])
    assert ids.dtype == torch.uint8
    assert torch.equal(ids[clear], logits.argmax(0).to(torch.uint8)[clear])


def test_a_class_that_wins_between_cells_alone_is_found() -> None:
    logits = torch.tensor([[5.0, 0.0], [0.0, 5.0], [4.0, 4.0]])[:, None, :]
    rows = in_bands(logits, 8, "corner", (8, 16), (8, 16), [])
    assert torch.cat([part.class_ids() for part in rows])[0].tolist() == [0, 0, *[2] * 5, *[1] * 9]


@settings(deadline=None, max_examples=50)
@given(CELLS, SIZES, CUTS)
def test_bands_do_not_change_a_pixel(cells: tuple[int, int], target: tuple[int, int], cuts: list[int]) -> None:
    logits, source = noise(3, *cells), (cells[0] * 8, cells[1] * 8)
    at_once, cut = (in_bands(logits, 8, "corner", source, target, where) for where in ([], cuts))
    assert torch.equal(whole(at_once), whole(cut))
    assert torch.equal(*(torch.cat([rows.class_ids() for rows in found]) for found in (at_once, cut)))


@settings(deadline=None)
@given(CELLS, st.tuples(st.integers(1, 700), st.integers(1, 300)), CUTS)
def test_rows_come_in_order_and_a_bounded_number_at_a_time(
    cells: tuple[int, int], target: tuple[int, int], cuts: list[int]
) -> None:
    found = in_bands(torch.zeros(1, *cells), 8, "corner", (cells[0] * 8, cells[1] * 8), target, cuts)
    shapes = [tuple(rows.class_ids().shape) for rows in found]
    ends = np.cumsum([height for height, _ in shapes]).tolist()
    assert [rows.top for rows in found] == [0, *ends[:-1]]
    assert ends[-1] == target[0]
    assert all(0 < height * width <= max(width, CHUNK["cpu"]) and width == target[1] for height, width in shapes)


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.integers(1, 3000), st.integers(1, 900)))
def test_parts_are_the_same_rows_fewer_at_a_time(target: tuple[int, int]) -> None:
    found = in_bands(noise(2, 3, 4), 8, "corner", (24, 32), target, [])
    parts = [part for rows in found for part in rows.parts()]
    assert torch.equal(whole(parts), whole(found))
    heights = [len(part.vertical.before) for part in parts]
    assert [part.top for part in parts] == [0, *np.cumsum(heights)[:-1]]
    assert all(0 < height * target[1] <= max(target[1], FEW["cpu"]) for height in heights)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_probability_is_the_softmax_of_the_given_class(temperature: float) -> None:
    logits = noise(5, 6, 7) * 9
    (rows,) = in_bands(logits, 8, "corner", (48, 56), (30, 40), [])
    ids = torch.randint(0, 5, (30, 40), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    expected = (rows.logits().double() / temperature).softmax(2).gather(2, ids.long()[:, :, None])[:, :, 0]
    torch.testing.assert_close(rows.probability(ids, temperature).double(), expected, atol=1e-6, rtol=0)


def test_a_scaler_keeps_one_row_of_cells_of_what_it_has_seen_until_the_last_row() -> None:
    scaler = LogitsScaler((Zones((0, 398)), Zones((0, 8))), 8, "corner", (3184, 64), (10, 10))
    held = []
    for top in range(0, 400, 100):
        list(scaler.push(Band(top, torch.zeros(2, 100, 10))))
        kept = [value for value in vars(scaler).values() if isinstance(value, Tensor)]
        held.append(sum(tensor.untyped_storage().nbytes() for tensor in kept))
    assert held == [2 * 10 * 4] * 3 + [0]
