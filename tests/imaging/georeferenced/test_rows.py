"""A scene from top to bottom: every row once, at any size, the same from any row on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.arrays import Mask, Pixels
from imaging.georeferenced.bands import choose_bands
from imaging.georeferenced.place import Window
from imaging.georeferenced.rows import PixelRows, Scaling, SceneSource, scene_rows
from imaging.georeferenced.scene import open_scene
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene

PHOTO = make_photo(300, 220)


def joined(parts: Iterator[PixelRows], first: int = 0) -> tuple[Pixels, Mask]:
    pixels, valid = [], []
    for part in parts:
        assert part.top == first
        first = part.bottom
        pixels.append(part.pixels)
        valid.append(part.valid)
    return np.concatenate(pixels), np.concatenate(valid)


@pytest.mark.parametrize("options", [{}, {"blockysize": 1}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
@pytest.mark.parametrize("first", [0, 1, 130, 299])
def test_every_row_comes_once(tmp_path: Path, options: dict[str, object], first: int) -> None:
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO, **options)) as scene:
        pixels, valid = joined(scene_rows(scene, choose_bands(scene), 9, first), first)
    assert (pixels == PHOTO[first:]).all()
    assert valid.all()


def test_pixels_without_data_have_the_value_to_fill(tmp_path: Path) -> None:
    mask = np.ones((300, 220), bool)
    mask[100:150, 20:200] = False
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO, mask=mask)) as scene:
        pixels, valid = joined(scene_rows(scene, choose_bands(scene), [1, 2, 3]))
    assert (valid == mask).all()
    assert (pixels[~mask] == [1, 2, 3]).all()
    assert (pixels[mask] == PHOTO[mask]).all()


def chunks(pixels: Pixels, valid: Mask, first: int, step: int) -> Iterator[PixelRows]:
    for top in range(first, len(pixels), step):
        yield PixelRows(top, pixels[top : top + step], valid[top : top + step])


@pytest.mark.parametrize("target", [(300, 220), (100, 70), (31, 17), (1, 1), (450, 300), (77, 220)])
def test_rows_are_scaled_as_pillow_does_whatever_the_pieces(target: tuple[int, int]) -> None:
    scaling, valid = Scaling((300, 220), target), np.ones((300, 220), bool)
    whole, _ = joined(scaling.rows(chunks(PHOTO, valid, 0, 300)))
    assert whole.shape == (*target, 3)
    for step in (1, 37, 128):
        assert (joined(scaling.rows(chunks(PHOTO, valid, 0, step)))[0] == whole).all()
    for first in {0, target[0] // 3, target[0] - 1}:
        rows = scaling.rows(chunks(PHOTO, valid, scaling.first_source_row(first), 64), 0, first)
        assert (joined(rows, first)[0] == whole[first:]).all()
    pillow = np.asarray(Image.fromarray(PHOTO).resize(target[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(whole - pillow).max() <= 1


@pytest.mark.parametrize("target", [(100, 70), (31, 17), (450, 300)])
@pytest.mark.parametrize("options", [{}, {"blockysize": 7}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_a_window_of_a_scaled_scene_has_the_pixels_of_its_rows(
    tmp_path: Path, target: tuple[int, int], options: dict[str, object]
) -> None:
    mask = np.ones((300, 220), bool)
    mask[100:180, 20:120] = False
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO, mask=mask, **options)) as scene:
        bands, scaling = choose_bands(scene), Scaling((300, 220), target)
        pixels, valid = joined(scaling.rows(scene_rows(scene, bands)))
        for top, left, bottom, right in ((0, 0, *target), (5, 3, 20, 11), (target[0] - 2, target[1] - 3, *target)):
            window = scaling.window(scene, bands, Window(top, left, bottom - top, right - left))
            assert (window[0] == pixels[top:bottom, left:right]).all()
            assert (window[1] == valid[top:bottom, left:right]).all()
    assert not valid.all()


def test_pixels_without_data_count_for_nothing_when_scaled() -> None:
    pixels, valid = np.full((90, 90, 3), 200, np.uint8), np.ones((90, 90), bool)
    valid[:, 40:] = False
    pixels[~valid] = 3
    means, mask = joined(Scaling((90, 90), (30, 30)).rows(chunks(pixels, valid, 0, 20), 77))
    assert (means[mask] == 200).all()
    assert (means[~mask] == 77).all()
    assert (mask[0, 0], mask[0, -1]) == (True, False)


@pytest.mark.parametrize("size", [(300, 220), (100, 73)])
def test_a_source_says_where_data_is_for_rows_in_their_order(tmp_path: Path, size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((300, 220)) > 0.5
    with open_scene(write_scene(tmp_path / "a.tif", PHOTO, mask=mask)) as scene:
        source = SceneSource(scene, choose_bands(scene), size)
        rows, first = source.working(0), 0
        for part in rows:
            ready = part.bottom * 300 // size[0] - 8
            if ready > first:
                assert (source.valid(first, ready) == mask[first:ready]).all()
                first = ready
    assert first > 200
