"""Merging: against sums made at once, against networks that see one pixel, and by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.merging import Band, BandMerger, merge
from model.tiling import Blend, TilePlan, plan_tiles
from model.upsampling import Grid
from model.zones import Zones

SIDES = st.integers(1, 300)
TILES = st.integers(1, 4).map(lambda units: 32 * units)
PLANS = st.builds(
    plan_tiles, st.tuples(SIDES, SIDES), st.tuples(TILES, TILES), st.floats(0, 0.5), st.sampled_from(["mean", "hann"])
)
BLENDS: tuple[Blend, Blend] = ("mean", "hann")


def noise(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def pixels(tile: npt.NDArray[np.uint8]) -> Tensor:
    return torch.tensor(tile).permute(2, 0, 1).float() / 255


@settings(deadline=None, max_examples=60)
@given(PLANS)
def test_a_network_that_sees_one_pixel_gives_the_same_in_tiles_as_at_once(plan: TilePlan) -> None:
    image = noise(plan.size)
    weight, bias = torch.linspace(-1, 1, 12).view(4, 3, 1, 1), torch.linspace(0, 1, 4)
    merged = merge(plan, (F.conv2d(pixels(plan.cut(image, region)), weight, bias) for region in plan.regions))
    merged = merged[:, : plan.size[0], : plan.size[1]]
    torch.testing.assert_close(merged, F.conv2d(pixels(image), weight, bias), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=60)
@given(PLANS)
def test_bands_are_the_weighted_sum_of_all_tiles_at_once(plan: TilePlan) -> None:
    generator = torch.Generator().manual_seed(0)
    tiles = [torch.randn(2, *plan.tile, generator=generator) for _ in range(len(plan))]
    height, width = plan.tops[-1] + plan.tile[0], plan.lefts[-1] + plan.tile[1]
    total = np.zeros((2, height, width))
    for index, (region, tile) in enumerate(zip(plan.regions, tiles, strict=True)):
        rows, columns = divmod(index, len(plan.lefts))
        weights = np.outer(plan.row_weights[rows], plan.column_weights[columns])
        place = (slice(region.top, region.top + region.height), slice(region.left, region.left + region.width))
        total[:, *place] += tile.numpy() * weights
    expected = torch.from_numpy(total).float()
    torch.testing.assert_close(merge(plan, iter(tiles)), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=60)
@given(PLANS)
def test_bands_follow_each_other_from_the_first_row_to_the_last(plan: TilePlan) -> None:
    bands = list(finished(plan, (torch.zeros(1, *plan.tile) for _ in range(len(plan)))))
    vertical, horizontal = Zones.of(plan.tops, plan.tile[0]), Zones.of(plan.lefts, plan.tile[1])
    assert [band.top for band in bands] == [vertical.kept(top) for top in plan.tops]
    heights = [band.logits.shape[1] for band in bands]
    assert np.cumsum(heights).tolist() == [*(vertical.kept(top) for top in plan.tops[1:]), vertical.length]
    assert {band.logits.shape[2] for band in bands} == {horizontal.length}


@settings(deadline=None, max_examples=60)
@given(PLANS, st.sampled_from([8, 16, 32]), st.sampled_from(["corner", "half_pixel"]))
def test_cells_are_weighed_as_the_pixels_that_they_lie_on(plan: TilePlan, stride: int, grid: Grid) -> None:
    generator, middle = torch.Generator().manual_seed(0), 0 if grid == "corner" else stride // 2
    tiles = [torch.randn(2, *plan.tile, generator=generator) for _ in range(len(plan))]
    coarse = merge(plan, (tile[:, middle::stride, middle::stride] for tile in tiles), grid)
    torch.testing.assert_close(coarse, merge(plan, iter(tiles))[:, middle::stride, middle::stride], atol=1e-5, rtol=0)


def finished(plan: TilePlan, tiles: Iterator[Tensor]) -> Iterator[Band]:
    merger = BandMerger(plan, "corner")
    return (band for tile in tiles if (band := merger.add(tile)) is not None)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("size", [(50, 60), (150, 130)], ids=["one tile", "many tiles"])
def test_x_and_x_plus_one_come_back_as_they_are(blend: Blend, size: tuple[int, int]) -> None:
    plan = plan_tiles(size, (64, 96), 0.25, blend)
    image = noise(size)
    reds = (torch.tensor(plan.cut(image, region)[:, :, 0]).float() for region in plan.regions)
    merged = merge(plan, (torch.stack([x, x + 1]) for x in reds))
    red = torch.tensor(image[:, :, 0]).float()
    torch.testing.assert_close(merged[:, : size[0], : size[1]], torch.stack([red, red + 1]), atol=1e-4, rtol=0)


def test_two_tiles_averaged_by_hand() -> None:
    plan = plan_tiles((20, 96), (32, 64), 0.0)
    merged = merge(plan, iter([torch.full((1, 32, 64), 1.0), torch.full((1, 32, 64), 3.0)]))
    assert merged.shape == (1, 32, 96)
    assert (merged[0, :, :32] == 1).all()
    assert (merged[0, :, 32:64] == 2).all()
    assert (merged[0, :, 64:] == 3).all()


def test_four_tiles_averaged_by_hand() -> None:
    plan = plan_tiles((96, 96), (64, 64), 0.5)
    merged = merge(plan, (torch.full((1, 64, 64), value) for value in (1.0, 3.0, 5.0, 11.0)))
    blocks = merged[0, ::32, ::32].tolist()
    assert blocks == [[1, 2, 3], [3, 5, 7], [5, 8, 11]]


def test_two_tiles_blended_by_hann_by_hand() -> None:
    plan = plan_tiles((32, 96), (32, 64), 0.5, "hann")
    line = merge(plan, iter([torch.full((1, 32, 64), 1.0), torch.full((1, 32, 64), 3.0)]))[0, 0]
    assert (line[:32] == 1).all()
    assert (line[64:] == 3).all()
    assert line[32].item() == pytest.approx(1.001204, abs=1e-5)
    assert line[47].item() == pytest.approx(1.950932, abs=1e-5)
    assert line[63].item() == pytest.approx(2.998796, abs=1e-5)


def test_halves_are_averaged_in_float32() -> None:
    plan = plan_tiles((96, 32), (64, 32), 0.5)
    tiles = [torch.full((1, 64, 32), 1.0, dtype=torch.bfloat16), torch.full((1, 64, 32), 1.0078125, dtype=torch.bfloat16)]
    merged = merge(plan, iter(tiles))
    assert merged.dtype == torch.float32
    assert merged[0, 40, 0].item() == 1.00390625
    single = merge(plan_tiles((20, 20), (32, 32)), iter([torch.ones(1, 32, 32, dtype=torch.float16)]))
    assert single.dtype == torch.float32


@pytest.mark.parametrize("size", [(20, 20), (70, 100)], ids=["one tile", "many tiles"])
def test_a_tile_more_than_the_plan_has_is_refused(size: tuple[int, int]) -> None:
    plan = plan_tiles(size, (64, 64))
    merger = BandMerger(plan, "corner")
    for _ in range(len(plan)):
        merger.add(torch.zeros(2, *plan.tile))
    with pytest.raises(ValueError, match=f"the plan has {len(plan)} tiles, and all are merged"):
        merger.add(torch.zeros(2, *plan.tile))


@pytest.mark.parametrize("shape", [(2, 64, 32), (2, 8, 16), (2, 65, 65), (2, 0, 0)], ids=str)
def test_logits_that_are_no_stride_of_the_tile_are_refused(shape: tuple[int, ...]) -> None:
    merger = BandMerger(plan_tiles((70, 100), (64, 64)), "corner")
    with pytest.raises(ValueError, match=rf"logits must be 64x64 divided by a stride, got \({shape[1]}, {shape[2]}\)"):
        merger.add(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 64, 64), (2, 8, 16), (2, 9, 8)], ids=str)
def test_logits_of_another_size_than_the_first_tiles_are_refused(shape: tuple[int, ...]) -> None:
    merger = BandMerger(plan_tiles((70, 100), (64, 64)), "corner")
    merger.add(torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match=rf"logits must be 8x8, got \({shape[1]}, {shape[2]}\)"):
        merger.add(torch.zeros(shape))


@pytest.mark.parametrize("size", [(20, 20), (70, 100)], ids=["one tile", "many tiles"])
def test_the_classes_of_a_cell_lie_side_by_side(size: tuple[int, int]) -> None:
    plan = plan_tiles(size, (64, 64))
    for band in finished(plan, (torch.zeros(5, 8, 8) for _ in range(len(plan)))):
        assert band.logits.permute(1, 2, 0).is_contiguous()


def test_memory_does_not_grow_with_the_images_height() -> None:
    def held(height: int) -> int:
        """The most bytes in maps that a merger and the band it just gave hold."""
        plan, most = plan_tiles((height, 100), (64, 64), 0.5), 0
        merger = BandMerger(plan, "corner")
        for _ in range(len(plan)):
            band = merger.add(torch.zeros(5, *plan.tile))
            most = max(most, merger.nbytes + (band.logits.untyped_storage().nbytes() if band else 0))
        return most

    assert 0 < held(4000) == held(200) <= 2 * 5 * 70 * 140 * 4
