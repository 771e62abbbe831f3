"""`quality=high`: several sizes and mirror images, averaged as probabilities on the cells of the largest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from imaging.decoding import Limits, scale
from model.architecture import Grid
from model.inference.merging import Band, Logits
from model.inference.plan import Options
from model.inference.runtime import Runtime, Tile
from model.inference.scaling import SideError
from model.inference.segmenter import Segmenter
from model.inference.tiling import plan_tiles
from model.inference.views import SCALES, View, ViewAverage
from tests.support.images import make_photo
from tests.support.model.segmentation import segment_pixels


def ramp(width: int, stride: int, grid: Grid) -> Logits:
    """Logits (1 row, cells, 2) of which the first is the pixel at which a cell lies, divided by the width."""
    centre = 0 if grid == "corner" else (stride - 1) / 2
    pixels = np.arange(width // stride) * stride + centre
    return np.stack([pixels / width, np.zeros_like(pixels)], 1)[None].astype(np.float32)


def test_high_has_each_size_and_its_mirror_image_the_largest_first(segmenter: Segmenter) -> None:
    plan = segmenter.plan_size((160, 320), Options((64, 64), side="native", quality="high"))
    assert [(view.tile_plan.size, view.is_mirrored) for view in plan.views] == [
        ((round(160 * factor), round(320 * factor)), is_mirrored) for factor in SCALES["high"] for is_mirrored in (False, True)
    ]
    assert plan.tile_plan is plan.views[0].tile_plan
    assert plan.tile_count == sum(len(view.tile_plan) for view in plan.views) == plan.describe()["tiles"]
    assert plan.describe()["quality"] == "high"


@pytest.mark.parametrize("size", [(1, 1), (33, 500), (70, 90)])
def test_high_answers_at_the_images_size_with_every_tile_of_its_plan(segmenter: Segmenter, size: tuple[int, int]) -> None:
    count = 0

    def run(tiles: Iterator[Tile]) -> Iterator[Logits]:
        nonlocal count
        for tile in tiles:
            count += 1
            yield segmenter.runtime.logits([tile])[0]

    plan = segmenter.plan_size(size, Options((64, 64), side="native", quality="high"))
    result = segmenter.infer(scale(make_photo(*size), plan.tile_plan.size), plan, run)
    assert result.class_map.shape == size
    assert count == plan.tile_count


def test_a_mirrored_image_gives_the_mirrored_classes(segmenter: Segmenter) -> None:
    """Which one view does not: the grid of its cells begins on the left."""
    image = make_photo(120, 161)  # one more than a multiple of the cells: the mirror image's lie on the same pixels
    options = Options((512, 512), side="native", quality="high")
    plain, mirror_map = (
        segment_pixels(segmenter, each, options).class_map for each in (image, np.ascontiguousarray(image[:, ::-1]))
    )
    assert (plain == mirror_map[:, ::-1]).mean() > 0.97


@pytest.mark.parametrize("grid", ["corner", "half_pixel"])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("width", [96, 64, 48])
def test_views_are_averaged_where_they_show_the_same(grid: Grid, is_mirrored: bool, width: int) -> None:
    target = plan_tiles((1, 64), (96, 96))
    view = View(plan_tiles((1, width), (96, 96)), is_mirrored)
    rows, columns = view.tile_plan.cells(8)
    length = 8 * columns
    logits = ramp(length, 8, grid) * np.float32(length / width)
    if is_mirrored:
        logits[..., 0] = (width - 1) / width - logits[..., 0]
    average = ViewAverage(target, 8, grid, temperature=1.0)
    average.add(view, [Band(0, np.repeat(logits, rows, 0))])
    average_logits = average.finish().logits
    odds = average_logits[0, :, 0] - average_logits[0, :, 1]
    centre = 0 if grid == "corner" else 3.5
    expected = (np.arange(0, 8 * target.cells(8)[1], 8) + centre + 0.5) / 64 - 0.5 / width
    inside = (expected > 16 / width) & (expected < 1 - 16 / width)
    assert inside.sum() >= 2
    np.testing.assert_allclose(odds[inside], expected[inside], atol=2e-3)


def test_probabilities_are_averaged_at_the_temperature() -> None:
    tiles = plan_tiles((32, 32), (32, 32))
    average = ViewAverage(tiles, 32, "corner", temperature=2.0)
    for odds in (8.0, -1.0):
        average.add(View(tiles), [Band(0, np.array([[[odds, 0.0]]], np.float32))])
    first, second = average.finish().logits[0, 0] / 2.0
    mean = np.mean([1 / (1 + np.exp(-odds / 2.0)) for odds in (8.0, -1.0)])
    assert 1 / (1 + np.exp(second - first)) == pytest.approx(mean, abs=1e-5)


def test_high_may_not_work_on_more_pixels_than_an_image_may_have(runtime: Runtime) -> None:
    segmenter = Segmenter(runtime, Limits(megapixels=0.01))
    assert segmenter.plan_size((100, 100), Options(side="native")).tile_count == 1
    with pytest.raises(SideError, match=r"quality high .*125x125"):
        segmenter.plan_size((100, 100), Options(side="native", quality="high"))


def test_a_view_shows_the_image_at_its_size_and_mirrored() -> None:
    image, tiles = make_photo(40, 60), plan_tiles((30, 45), (64, 64))
    expected = scale(image, (30, 45))
    assert np.array_equal(View(tiles).of(image), expected)
    assert np.array_equal(View(tiles, is_mirrored=True).of(image), expected[:, ::-1])
