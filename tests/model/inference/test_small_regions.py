"""Small regions and holes, against slow searches pixel by pixel, and the confidence of the classes that they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from common.arrays import Ids, Mask
from imaging.answer import Segmentation
from imaging.errors import AnswerTooLarge
from imaging.rendering import Rendering
from model.inference.merging import Band, Logits
from model.inference.plan import Options
from model.inference.runtime import Tile
from model.inference.segmenter import Segmenter
from model.inference.small_regions import Area, parse_area, without_small_regions
from model.inference.upsampling import LogitsUpsampler, Rows
from model.inference.views import Quality


def bands_of(cells: Logits, size: tuple[int, int], stride: int = 1, height: int = 5) -> list[Rows]:
    """The rows of pixels of a map (rows, columns, classes) that comes in bands of this height."""
    source = cells.shape[0] * stride, cells.shape[1] * stride
    upsampler = LogitsUpsampler((cells.shape[0], cells.shape[1]), stride, "half_pixel", source, size)
    tops = range(0, len(cells), height)
    return [rows for top in tops for rows in upsampler.push(Band(top, cells[top : top + height]))]


def replace_regions(cells: Logits, size: tuple[int, int], min_area: int, fill_holes: int = 0, stride: int = 1) -> Ids:
    return without_small_regions(bands_of(cells, size, stride), size, min_area, fill_holes)


def logits_of(class_map: Ids, seed: int = 0, classes: int = 4) -> Logits:
    """Logits (H, W, classes) that are highest at the map's classes."""
    noise = np.random.default_rng(seed).random((*class_map.shape, classes), np.float32)
    return noise + np.float32(2) * (class_map[:, :, None] == np.arange(classes))


def draw(text: str) -> Ids:
    return np.array([[int(character) for character in line] for line in text.split()], np.uint8)


def connected_parts(inside: Mask) -> list[Mask]:
    """The 4-connected parts of a mask, in the order of their first pixels: columns from the left, each from the top."""
    numbers, count = ndimage.label(inside.T)
    return [number == numbers.T for number in range(1, count + 1)]


def regions_of(class_map: Ids) -> list[Mask]:
    """All regions, in the order of their first pixels."""
    parts = [part for id in np.unique(class_map) for part in connected_parts(class_map == id)]
    return sorted(parts, key=lambda part: int(part.T.argmax()))


def slowly_replace(class_map: Ids, logits: Logits, min_area: int) -> Ids:
    """One region after the other, each time searched anew. logits: (H, W, classes)."""
    class_map = class_map.copy()
    while len(regions := regions_of(class_map)) > 1:
        smallest = min(regions, key=lambda part: int(part.sum()))
        if smallest.sum() >= min_area:
            break
        classes = np.unique(class_map[ndimage.binary_dilation(smallest) & ~smallest])
        class_map[smallest] = classes[logits[smallest].sum(0, np.float64)[classes].argmax()]
    return class_map


def holes_of(class_map: Ids) -> list[tuple[Mask, int]]:
    """The holes of all regions with the classes of the regions, the largest first."""
    holes = [
        (part, int(class_map[region][0]))
        for region in regions_of(class_map)
        for part in connected_parts(~region)
        if not (part[[0, -1]].any() or part[:, [0, -1]].any())
    ]
    return sorted(holes, key=lambda hole: -int(hole[0].sum()))


def slowly_fill(class_map: Ids, fill_holes: int) -> Ids:
    result, is_done = class_map.copy(), np.zeros(class_map.shape, bool)
    for part, id in holes_of(class_map):
        if part.sum() < fill_holes and not is_done[part].any():
            result[part] = id
            is_done |= part
    return result


def maps() -> Iterator[Ids]:
    rng = np.random.default_rng(5)
    for shape in [(1, 1), (1, 9), (9, 1), (7, 6), (9, 11)]:
        for classes in (2, 3, 4):
            yield rng.integers(0, classes, shape, np.uint8)
            yield (rng.random(shape) < 0.3).astype(np.uint8) * rng.integers(1, classes, shape, np.uint8)


@pytest.mark.parametrize("class_map", [*maps()], ids=lambda class_map: "x".join(map(str, class_map.shape)))
def test_classes_are_those_of_a_slow_search(class_map: Ids) -> None:
    cells, size = logits_of(class_map), (class_map.shape[0], class_map.shape[1])
    for min_area in (0, 1, 2, 5, 1000):
        small = slowly_replace(class_map, cells, min_area)
        assert np.array_equal(replace_regions(cells, size, min_area), small)
        for fill_holes in (2, 6, 1000):
            assert np.array_equal(replace_regions(cells, size, min_area, fill_holes), slowly_fill(small, fill_holes))


@pytest.mark.parametrize("min_area", [20, 60])
def test_logits_are_those_of_the_pixels_between_the_cells(min_area: int) -> None:
    cells, size = np.random.default_rng(2).random((6, 7, 4), np.float32), (37, 47)
    bands = bands_of(cells, size, 8)
    class_map = np.concatenate([rows.class_ids() for rows in bands])
    logits = np.concatenate([part for rows in bands for _, part in rows.logits()], 1).transpose(1, 2, 0)
    result = replace_regions(cells, size, min_area, stride=8)
    assert np.array_equal(result, slowly_replace(class_map, logits, min_area))
    assert not np.array_equal(result, class_map)
    assert min(int(part.sum()) for part in regions_of(result)) >= min_area


def test_a_hole_may_hold_regions_and_is_filled_as_a_whole() -> None:
    class_map = draw("0000000 0111110 0122310 0120210 0122210 0111110 0000000")
    cells = logits_of(class_map)
    whole = draw("0000000 0111110 0111110 0111110 0111110 0111110 0000000")
    assert np.array_equal(replace_regions(cells, (7, 7), 0, 10), whole)
    only_inner = replace_regions(cells, (7, 7), 0, 9)
    assert only_inner[3, 3] == 2
    assert only_inner[2, 4] == 3  # it touches two regions, so it is a hole of none


def test_too_many_regions_are_refused() -> None:
    class_map = (np.indices((200, 200)).sum(0) % 2).astype(np.uint8)
    with pytest.raises(AnswerTooLarge, match=r"borders .* leave min_area and fill_holes out"):
        replace_regions(logits_of(class_map), (200, 200), 10)


@pytest.mark.parametrize("quality", ["standard", "high"])
def test_confidence_counts_and_means_are_those_of_the_new_classes(segmenter: Segmenter, quality: Quality) -> None:
    options = Options((64, 64), side="native", quality=quality, rendering=Rendering("npz", probabilities=True))
    before = of_noise(segmenter, (150, 200), options)
    after = of_noise(segmenter, (150, 200), replace(options, min_area=Area(Fraction(400)), fill_holes=parse_area("5%")))
    changes = before.class_map != after.class_map
    assert 0.01 < changes.mean() < 0.9
    assert before.confidence is not None
    assert after.confidence is not None
    assert before.probabilities is not None
    assert after.probabilities is not None
    assert np.array_equal(before.probabilities, after.probabilities)
    probability = np.take_along_axis(after.probabilities, after.class_map[None].astype(np.intp), 0)[0].astype(np.float64)
    assert np.array_equal(before.confidence[~changes], after.confidence[~changes])
    assert np.abs(after.confidence - 255 * probability)[changes].max() <= 0.7  # rounded, from half precision
    assert after.counts == tuple(np.bincount(after.class_map.reshape(-1), minlength=4).tolist())
    for id in np.unique(after.class_map):
        inside = after.class_map == id
        assert after.mean_confidence[id] == pytest.approx(after.confidence[inside].mean() / 255, abs=2e-3)
    assert min(int(part.sum()) for part in regions_of(after.class_map)) >= 400


def test_replaced_regions_are_wholly_in_a_cutout_or_out_of_it(segmenter: Segmenter) -> None:
    options = Options((64, 64), side="native", rendering=Rendering("cutout", classes=("1", "2")))
    before = of_noise(segmenter, (150, 200), options)
    after = of_noise(segmenter, (150, 200), replace(options, min_area=parse_area("400")))
    assert before.foreground is not None
    assert after.foreground is not None
    now = np.isin(after.class_map, [1, 2])
    changes = np.isin(before.class_map, [1, 2]) != now
    assert changes.any()
    assert np.array_equal(after.foreground[changes], np.where(now, 255, 0)[changes])
    assert np.array_equal(after.foreground[~changes], before.foreground[~changes])


def of_noise(segmenter: Segmenter, size: tuple[int, int], options: Options) -> Segmentation:
    """What becomes of logits that are noise."""
    rng, stride = np.random.default_rng(0), segmenter.runtime.stride

    def noise(tiles: Iterator[Tile]) -> Iterator[Logits]:
        for height, width, _ in (tile.shape for tile in tiles):
            yield rng.standard_normal((4, height // stride, width // stride)).astype(np.float32)

    plan = segmenter.plan_size(size, options)
    return segmenter.infer(np.zeros((*plan.tile_plan.size, 3), np.uint8), plan, noise)


@pytest.mark.parametrize(
    ("text", "pixels"), [("0", 0), ("7", 7), ("0.1%", 1), ("0.125%", 2), ("100%", 1000), ("0%", 0), ("0.1000%", 1)]
)
def test_an_area_is_a_number_of_pixels_or_a_share(text: str, pixels: int) -> None:
    assert parse_area(text).pixels(1000) == pixels
    assert parse_area(str(parse_area(text))) == parse_area(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "101%", "%", "1e3", "nan", "0.1 %", "1,5%", "1000000000", "0." + "1" * 30 + "%", "٣"]
)
def test_what_is_no_area_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"an area must be 0 to 999999999 whole pixels, .*0% to 100% .* at most 9 decimals .* got"
    ):
        parse_area(text)
