"""What a photo looks like is told from its cells, and CMYK from the file's header."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile

from training.survey.photos import appearance, is_cmyk, mean_colors

Pixels = npt.NDArray[np.uint8]


def photo() -> Image.Image:
    """Coarse random blocks of every colour."""
    blocks = np.random.default_rng(1).integers(20, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((640, 480), Image.Resampling.BICUBIC)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def truncated(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Pixels]:
    """The pixels that a decoder makes of the first half of a file."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    return lambda data: read(saved(Image.fromarray(read(data[: len(data) // 2])), "JPEG", quality=80))


def test_a_photo_of_colours_is_told_from_a_grey_one() -> None:
    assert appearance(mean_colors(np.asarray(photo()))) == "colour"
    assert appearance(mean_colors(read(saved(photo().convert("L"), "JPEG", quality=70)))) == "grey"
    assert appearance(mean_colors(read(saved(photo().convert("L").convert("RGB"), "WEBP", quality=70)))) == "grey"


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (40, 90, 30)])
def test_noise_does_not_hide_that_a_photo_is_of_one_colour(color: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(2).integers(-9, 10, (480, 640, 3))
    pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
    assert appearance(mean_colors(read(saved(Image.fromarray(pixels), "JPEG", quality=80)))) == "one colour"


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_what_a_decoder_makes_of_half_a_file_is_cut_off(truncated: Callable[[bytes], Pixels], format: str) -> None:
    assert appearance(mean_colors(truncated(saved(photo(), format)))) == "cut off"


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
    assert [is_cmyk(saved(cmyk, format)) for format in ("JPEG", "TIFF")] == [True, True]
    assert [is_cmyk(saved(rgb, format)) for format in ("JPEG", "TIFF", "PNG", "WEBP")] == [False] * 4
