"""What a photo looks like is told from its cells, and copies of a photo are found whatever their size and compression."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from benchmarks.harness.image_files import file_of
from tests.support.images import Pixels, make_photo
from training.survey.photos import appearance, image_hash, is_cmyk, look_alike, mean_colors


def photo() -> Image.Image:
    """Coarse random blocks of every colour."""
    blocks = np.random.default_rng(1).integers(20, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((640, 480), Image.Resampling.BICUBIC)


def read(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_photo_of_colours_is_told_from_a_grey_one() -> None:
    assert appearance(mean_colors(np.asarray(photo()))) == "colour"
    assert appearance(mean_colors(read(file_of(photo().convert("L"), "JPEG", quality=70)))) == "grey"
    assert appearance(mean_colors(read(file_of(photo().convert("L").convert("RGB"), "WEBP", quality=70)))) == "grey"


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (40, 90, 30)])
def test_noise_does_not_hide_that_a_photo_is_of_one_colour(color: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(2).integers(-9, 10, (480, 640, 3))
    pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
    assert appearance(mean_colors(read(file_of(Image.fromarray(pixels), "JPEG", quality=80)))) == "one colour"


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_what_a_decoder_makes_of_half_a_file_is_cut_off(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = file_of(photo(), format)
    half = read(data[: len(data) // 2])
    assert appearance(mean_colors(read(file_of(Image.fromarray(half), "JPEG", quality=80)))) == "cut off"


def test_dark_ground_below_a_horizon_that_is_not_straight_is_not_cut_off() -> None:
    pixels = np.array(photo())
    rows, columns = np.indices((480, 640))
    pixels[rows > 200 + columns // 6] = 0
    assert appearance(mean_colors(pixels)) == "colour"
    pixels[:] = 0
    pixels[:200] = np.asarray(photo())[:200]
    assert appearance(mean_colors(pixels)) == "cut off"
    pixels[pixels.sum(2) == 0] = 255  # white is paper
    assert appearance(mean_colors(pixels)) == "colour"


def test_cmyk_is_told_from_the_header() -> None:
    cmyk, rgb = photo().convert("CMYK"), photo()
    assert [is_cmyk(file_of(cmyk, format)) for format in ("JPEG", "TIFF")] == [True, True]
    assert [is_cmyk(file_of(rgb, format)) for format in ("JPEG", "TIFF", "PNG", "WEBP")] == [False] * 4


def photos() -> list[Pixels]:
    """Six pictures of coarse random blocks."""
    rng = np.random.default_rng(5)
    blocks = [Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)) for _ in range(6)]
    return [np.asarray(block.resize((320, 240), Image.Resampling.BICUBIC)) for block in blocks]


def copied(photo: Pixels, quality: int, scale: float) -> Pixels:
    height, width = photo.shape[:2]
    small = Image.fromarray(photo).resize((round(width * scale), round(height * scale)))
    return read(file_of(small, "JPEG", quality=quality))


@pytest.mark.parametrize(("quality", "scale"), [(30, 1.0), (60, 0.4), (80, 1.5)])
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
