"""Copies of a photo are found whatever their size and compression, and other photos are not taken for it."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.images import make_photo
from training.survey.photos import image_hash, look_alike

Pixels = npt.NDArray[np.uint8]


def photos() -> list[Pixels]:
    """Six pictures of coarse random blocks."""
    rng = np.random.default_rng(5)
    blocks = [Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)) for _ in range(6)]
    return [np.asarray(block.resize((320, 240), Image.Resampling.BICUBIC)) for block in blocks]


def copied(photo: Pixels, quality: int, scale: float) -> Pixels:
    height, width = photo.shape[:2]
    file = io.BytesIO()
    small = Image.fromarray(photo).resize((round(width * scale), round(height * scale)))
    small.save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("quality", "scale"), [(95, 1.0), (30, 1.0), (60, 0.4), (80, 1.5)])
def test_a_copy_looks_like_its_original_alone(quality: int, scale: float) -> None:
    originals = [image_hash(photo) for photo in photos()]
    copies = [image_hash(copied(photo, quality, scale)) for photo in photos()]
    assert list(look_alike(originals, copies)) == [(index, index) for index in range(6)]
    assert look_alike(originals[:2], copies[2:]) == {}


def test_the_hash_says_where_brightness_rises() -> None:
    right = np.repeat(np.linspace(0, 255, 90, dtype=np.uint8)[None, :, None], 80, 0).repeat(3, 2)
    assert image_hash(right) == "f" * 16 + "0" * 16
    assert image_hash(right[:, ::-1]) == "0" * 32
    assert image_hash(right.transpose(1, 0, 2)) == "0" * 16 + "f" * 16
    assert len(image_hash(make_photo(3, 5))) == 32


def test_lists_without_images_have_no_pairs() -> None:
    assert look_alike([], ["00" * 16]) == look_alike(["00" * 16], []) == {}


def test_mirrored_and_turned_copies_look_alike() -> None:
    originals = [image_hash(photo) for photo in photos()]
    for turns in range(4):
        for step in (1, -1):
            copies = [image_hash(np.ascontiguousarray(np.rot90(photo, turns)[:, ::step])) for photo in photos()]
            assert list(look_alike(originals, copies)) == [(index, index) for index in range(6)]


def test_the_bits_that_differ_are_counted_the_least_over_all_orientations() -> None:
    original = "0f" * 16
    near, far = f"{int(original, 16) ^ 0b11:032x}", f"{int(original, 16) ^ 0b11111:032x}"
    assert look_alike([near, far], [original]) == {(0, 0): 2, (1, 0): 5}
    photo = image_hash(photos()[0])
    mirrored = image_hash(np.ascontiguousarray(photos()[0][:, ::-1]))
    assert look_alike([photo], [mirrored])[0, 0] <= 2
