"""Islands against a slow search pixel by pixel, and what remains of drawn opacities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from common.arrays import Mask
from imaging.islands import flatten_islands
from tests.support.images import Pixels


def draw(text: str) -> Pixels:
    """Opacities: `.` is 0, `o` is 100, `#` is 200. In a map of objects, `#` is 1."""
    values = {".": 0, "o": 100, "#": 200}
    return np.array([[values[character] for character in line] for line in text.split()], np.uint8)


def flatten(opacity: Pixels, objects: Pixels, least: float) -> Pixels:
    result = opacity.copy()
    flatten_islands(result, (objects > 0).astype(np.uint8), least)
    return result


def parts(inside: Mask) -> list[set[tuple[int, int]]]:
    """The 4-connected parts of a mask."""
    numbers, count = ndimage.label(inside)
    return [{(int(y), int(x)) for y, x in np.argwhere(numbers == number)} for number in range(1, count + 1)]


def slowly_flatten(opacity: Pixels, objects: Pixels, least: float) -> Pixels:
    result = opacity.copy()
    for lowest in (128, 64, 1):
        groups = parts(result >= lowest)
        large = [part for part in groups if len(part) >= least and any(objects[pixel] for pixel in part)]
        for one in parts(objects > 0):
            large += sorted(
                (part for part in groups if part & one), key=lambda part: (len(part), min((x, y) for y, x in part))
            )[-1:]
        for part in groups:
            if part not in large:
                for pixel in part:
                    result[pixel] = lowest - 1
    return result


def test_a_speck_in_a_haze_takes_the_opacity_of_the_haze() -> None:
    opacity, objects = draw("##oo#o"), draw("##....")
    assert flatten(opacity, objects, 4).tolist() == [[200, 200, 100, 100, 127, 100]]


def test_of_the_parts_of_an_object_the_largest_and_those_of_the_least_size_remain() -> None:
    opacity, objects = draw("###.##.#.#"), draw("########.#")
    assert np.array_equal(flatten(opacity, objects, 2), draw("###.##...#"))
    assert np.array_equal(flatten(opacity, objects, 3), draw("###......#"))  # the last one is the whole of its object


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (12, 17)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_opacities_are_those_of_a_slow_search(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    opacity = rng.choice(np.array([0, 0, 30, 100, 255], np.uint8), size)
    objects = (rng.random(size) < 0.4).astype(np.uint8)
    for least in (1, 3, 1000):
        assert np.array_equal(flatten(opacity, objects, least), slowly_flatten(opacity, objects, least))


def test_a_map_of_too_many_regions_stays() -> None:
    opacity = (np.indices((200, 200)).sum(0) % 2).astype(np.uint8) * np.uint8(255)
    assert np.array_equal(flatten(opacity, np.ones_like(opacity), 9), opacity)
    assert np.array_equal(flatten(np.full_like(opacity, 255), opacity, 9), np.full_like(opacity, 255))
