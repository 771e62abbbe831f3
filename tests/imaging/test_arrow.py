"""Pixels read from Pillow's memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from imaging.arrow import copy_rgb, view_rgb
from imaging.decoding import decode
from tests.conftest import encoded, make_photo
from tests.imaging.files import LIMITS


@pytest.fixture
def small_blocks() -> Iterator[None]:
    """Pillow lays images of more than a few rows in several blocks, as it does those above 16 MiB."""
    before = Image.core.get_block_size()
    Image.core.set_block_size(4096)
    yield
    Image.core.set_block_size(before)


def copied(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    out = np.full(shape, 7, np.uint8)
    copy_rgb(image, out)
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (37, 51), (300, 200)], ids=str)
def test_all_pixels_are_copied(size: tuple[int, int]) -> None:
    photo = make_photo(*size)
    assert np.array_equal(copied(Image.fromarray(photo), photo.shape), photo)


def test_they_may_be_laid_out_in_another_order() -> None:
    photo = make_photo(30, 20)
    out = np.zeros((20, 30, 3), np.uint8)
    copy_rgb(Image.fromarray(photo), out.swapaxes(0, 1)[::-1])
    assert np.array_equal(out.swapaxes(0, 1)[::-1], photo)


def test_the_copy_stays_when_the_image_has_gone() -> None:
    photo = make_photo(300, 200)
    image = Image.fromarray(photo)
    out = copied(image, photo.shape)
    image.paste("red", (0, 0, 200, 300))
    image.close()
    del image
    assert np.array_equal(out, photo)


def test_a_view_stays_when_the_image_has_gone() -> None:
    photo = make_photo(300, 200)
    image = Image.fromarray(photo)
    found = view_rgb(image)
    image.close()
    del image
    gc.collect()
    others = [Image.new("RGB", (200, 300), "red") for _ in range(5)]
    assert found is not None
    assert np.array_equal(found, photo)
    assert len(others) == 5


def test_an_image_in_several_blocks_cannot_be_viewed(small_blocks: None) -> None:
    assert view_rgb(Image.fromarray(make_photo(300, 200))) is None


def test_an_image_in_several_blocks_is_copied_too(small_blocks: None) -> None:
    photo = make_photo(300, 200)
    image = Image.fromarray(photo)
    with pytest.raises(ValueError, match="contiguous"):
        image.__arrow_c_array__()
    assert np.array_equal(copied(image, photo.shape), photo)


def test_decoding_packs_no_bytes_with_the_interpreter_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(make_photo(64, 48), "JPEG")
    expected = decode(data, LIMITS)

    def packed(*args: object) -> bytes:
        raise AssertionError

    monkeypatch.setattr(Image.Image, "tobytes", packed)
    assert np.array_equal(decode(data, LIMITS), expected)
