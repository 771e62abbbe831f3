"""The tile plan: three cases by hand, and the properties that every plan has."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.inference.scaling import working_size
from model.inference.tiling import (
    COARSE,
    FINE,
    TilePlan,
    TilingError,
    axis_weights,
    parse_tile,
    photo_shapes,
    plan_tiles,
    tile_shapes,
    tile_sides,
)

TILES = st.integers(1, 6).map(lambda units: 32 * units)
OVERLAPS = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5]) | st.floats(0, 0.5)
BLENDS = st.sampled_from(["mean", "hann"])
PLANS = st.builds(plan_tiles, st.tuples(st.integers(1, 700), st.integers(1, 700)), st.tuples(TILES, TILES), OVERLAPS, BLENDS)


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "expected"),
    [
        ((70, 100), (64, 64), 0.25, ((64, 64), (0, 32), (0, 32, 64))),
        ((512, 1000), (512, 512), 0.25, ((512, 512), (0,), (0, 384, 512))),
        ((33, 70), (96, 64), 0.0, ((64, 64), (0,), (0, 32))),
        ((500, 130), (512, 512), 0.0, ((512, 192), (0,), (0,))),
        ((130, 300), (512, 512), 0.0, ((256, 512), (0,), (0,))),
        ((1, 1), (512, 512), 0.0, ((256, 256), (0,), (0,))),
    ],
    ids=["both axes cut", "a long one", "one axis fits", "a full side", "a full width", "no full side"],
)
def test_plans_made_by_hand(
    size: tuple[int, int],
    tile: tuple[int, int],
    overlap: float,
    expected: tuple[tuple[int, int], tuple[int, ...], tuple[int, ...]],
) -> None:
    plan = plan_tiles(size, tile, overlap)
    assert (plan.tile, plan.tops, plan.lefts) == expected
    assert len(plan) == len(expected[1]) * len(expected[2])


@settings(deadline=None, max_examples=150)
@given(PLANS)
def test_origins_and_sides_are_multiples_of_32_and_lie_within_the_extended_image(plan: TilePlan) -> None:
    for origins, side, length in zip((plan.tops, plan.lefts), plan.tile, plan.size, strict=True):
        assert side % 32 == 0
        assert all(origin % 32 == 0 for origin in origins)
        assert list(origins) == sorted(set(origins))
        assert origins[0] == 0
        assert origins[-1] + side == -(-length // 32) * 32 or (len(origins) == 1 and origins[-1] + side >= length)


@settings(deadline=None)
@given(st.integers(1, 700), TILES, OVERLAPS)
def test_a_side_that_fits_is_one_region_of_a_fixed_side_and_a_longer_one_is_cut(length: int, tile: int, overlap: float) -> None:
    plan = plan_tiles((length, 1), (tile, 32), overlap)
    if length <= tile:
        assert plan.tops == (0,)
        assert plan.tile[0] == min(side for side in tile_sides(tile, FINE) if side >= length)
    else:
        assert plan.tile[0] == tile
        assert len(plan.tops) > 1


@settings(deadline=None)
@given(st.integers(2, 6), OVERLAPS)
def test_neighbours_share_the_overlap_rounded_to_whole_units(units: int, overlap: float) -> None:
    tile = 32 * units
    tops = plan_tiles((10 * tile, 1), (tile, 32), overlap).tops
    overlap_length = tile - (tops[1] - tops[0])
    assert abs(overlap_length - overlap * tile) <= 16 or tops[1] - tops[0] == 32
    assert {after - before for before, after in pairwise(tops[:-1])} == {tops[1] - tops[0]}


@settings(deadline=None, max_examples=150)
@given(PLANS)
def test_weights_of_every_pixel_are_above_zero_and_sum_to_one(plan: TilePlan) -> None:
    for origins, side in zip((plan.tops, plan.lefts), plan.tile, strict=True):
        weights = axis_weights(origins, side, plan.blend)
        total = np.zeros(origins[-1] + side)
        for origin, line in zip(origins, weights, strict=True):
            assert line.shape == (side,)
            assert line.dtype == np.float32
            assert line.min() > 0
            total[origin : origin + side] += line
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_hann_does_not_taper_towards_the_border_where_tiles_overlap_by_more_than_half() -> None:
    first, last = axis_weights(plan_tiles((160, 1), (128, 32), 0.0, "hann").tops, 128, "hann")
    weight = np.sin(np.pi * 100.5 / 128) ** 2
    np.testing.assert_allclose(last[100 - 32], 1 / (1 + weight), atol=1e-6)
    np.testing.assert_allclose(first, last[::-1], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(PLANS)
def test_every_tile_is_a_window_of_the_extended_image(plan: TilePlan) -> None:
    height, width = plan.size
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256], 2).astype(np.uint8)
    for (top, left), tile in zip(product(plan.tops, plan.lefts), plan.tiles(image), strict=True):
        y = np.minimum(np.arange(top, top + plan.tile[0]), height - 1)
        x = np.minimum(np.arange(left, left + plan.tile[1]), width - 1)
        assert np.array_equal(tile, image[y[:, None], x])


@pytest.mark.parametrize(
    ("limit", "fine", "coarse"),
    [
        (32, [32], [32]),
        (96, [64, 96], [64, 96]),
        (256, [64, 128, 160, 192, 224, 256], [128, 256]),
        (288, [64, 128, 160, 192, 224, 256, 288], [160, 288]),
        (512, [64, 128, 192, *range(256, 513, 32)], [256, 512]),
        (640, [128, 256, *range(320, 641, 64)], [320, 640]),
    ],
)
def test_an_axis_has_a_few_fixed_sides(limit: int, fine: list[int], coarse: list[int]) -> None:
    assert list(tile_sides(limit, FINE)) == fine
    assert list(tile_sides(limit, COARSE)) == coarse


@settings(deadline=None, max_examples=150)
@given(PLANS, st.tuples(TILES, TILES))
def test_every_plan_has_one_of_the_few_shapes(plan: TilePlan, tile: tuple[int, int]) -> None:
    shapes = tile_shapes(tile)
    assert plan_tiles(plan.size, tile, plan.overlap).tile in shapes
    assert len(shapes) <= 30
    assert shapes >= {*photo_shapes(tile)}


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (4000, 3000), (6000, 4000), (3840, 2160), (2160, 3840)])
def test_a_usual_photo_has_less_than_a_unit_of_padding_and_a_shape_that_is_warmed_up(width: int, height: int) -> None:
    size = working_size((height, width), 512, (512, 512))
    tile = plan_tiles(size, (512, 512)).tile
    assert all(0 <= side - length < 32 for side, length in zip(tile, size, strict=True))
    assert tile in photo_shapes((512, 512))


@pytest.mark.parametrize(
    ("text", "tile"), [("512", (512, 512)), ("384x480", (384, 480)), ("384X480", (384, 480)), (" 64 x 32 ", (64, 32))]
)
def test_tiles_are_written_as_one_side_or_two(text: str, tile: tuple[int, int]) -> None:
    assert parse_tile(text) == tile


@pytest.mark.parametrize("text", ["", "x", "512x", "1x2x3", "big", "-32", "51.2", "\N{SUPERSCRIPT TWO}"])
def test_other_writings_of_a_tile_are_refused(text: str) -> None:
    with pytest.raises(TilingError, match=r"tile must .* 384x480"):
        parse_tile(text)


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "message"),
    [
        ((10, 10), (500, 512), 0.25, "tile must be a multiple of 32, got 500"),
        ((10, 10), (512, 0), 0.25, "tile must be a multiple of 32, got 0"),
        ((10, 10), (512, 512), -0.1, "overlap must be between 0 and 0.5, got -0.1"),
        ((10, 10), (512, 512), 0.51, "overlap must be between 0 and 0.5, got 0.51"),
        ((10, 10), (512, 512), float("nan"), "overlap must be between 0 and 0.5, got nan"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(size: tuple[int, int], tile: tuple[int, int], overlap: float, message: str) -> None:
    with pytest.raises(TilingError, match=f"^{message}$"):
        plan_tiles(size, tile, overlap)
