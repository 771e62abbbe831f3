"""Steps between blocks of drawn photos: where they are seen, and what is left of them and of edges."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imaging.deblocking import Blocks, block_steps
from tests.support.images import Pixels, encode, open_image


def clouds(height: int = 200, width: int = 240) -> Pixels:
    """Smooth colours with a little noise."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(60, 190, (5, 6, 3), np.uint8))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return (large + rng.integers(-3, 4, large.shape)).clip(0, 255).astype(np.uint8)


def as_jpeg(photo: Pixels, quality: int) -> Pixels:
    return np.asarray(open_image(encode(photo, "JPEG", quality=quality)))


def whole(photo: Pixels) -> Pixels:
    return Blocks.of(photo).smoothed(photo, slice(0, photo.shape[0]), slice(0, photo.shape[1]))


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("offset", [(0, 0), (3, 5)], ids=str)
def test_blocks_are_seen_wherever_they_begin_and_their_steps_go(quality: int, offset: tuple[int, int]) -> None:
    photo = as_jpeg(clouds(), quality)[offset[0] :, offset[1] :]
    blocks = Blocks.of(photo)
    assert blocks.first == (-offset[1] % 8, -offset[0] % 8)
    smooth = whole(photo)
    for lines, before in ((smooth, photo), (smooth.swapaxes(0, 1), photo.swapaxes(0, 1))):
        assert block_steps(lines)[1] < 0.5 * block_steps(before)[1]


def test_a_photo_that_was_no_jpeg_stays() -> None:
    photo = clouds()
    assert Blocks.of(photo).excess == (0, 0)
    assert np.array_equal(whole(photo), photo)


def test_an_edge_of_the_photo_between_two_blocks_stays() -> None:
    photo = as_jpeg(clouds(), 60).copy()
    photo[:, 120:] = (photo[:, 120:] // 8).astype(np.uint8)
    assert np.array_equal(whole(photo)[:100, 119:121] > 60, photo[:100, 119:121] > 60)
    difference = whole(photo)[:, 118:122].astype(int) - photo[:, 118:122]
    assert np.abs(difference[40:160]).max() < 40


def test_a_part_is_that_part_of_the_whole() -> None:
    photo = as_jpeg(clouds(), 60)[1:, 2:]
    blocks, smooth = Blocks.of(photo), whole(photo)
    for rows, columns in ((slice(0, 64), slice(64, 128)), (slice(64, 130), slice(130, 200)), (slice(100, 101), slice(7, 9))):
        assert np.array_equal(blocks.smoothed(photo, rows, columns), smooth[rows, columns])


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (33, 35)], ids=str)
def test_a_small_photo_is_taken(size: tuple[int, int]) -> None:
    photo = as_jpeg(clouds()[: size[0], : size[1]], 30)
    assert whole(photo).shape == photo.shape
