"""What is sent for every form of an image; the service's own decoder says what it shows."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fcn_client.images import upload_of
from PIL import Image

from imaging.decoding import Limits, decode
from tests.support.images import encode, make_photo
from tests.support.imaging.samples import oriented

PIXELS = make_photo(30, 40)


def pixels_of(image: Any) -> Any:
    return decode(upload_of(image).data, Limits())


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    data = encode(PIXELS, "JPEG")
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with path.open("rb") as file:
        uploads = [upload_of(image) for image in (data, bytearray(data), memoryview(data), path, str(path), file)]
    assert {upload.data for upload in uploads} == {data}
    assert [upload.name for upload in uploads] == ["image"] * 3 + ["photo.jpg"] * 3


def test_pixels_are_sent_without_loss() -> None:
    for image in (PIXELS, PIXELS[::-1, ::-1][::-1, ::-1], np.asfortranarray(PIXELS), Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(pixels_of(image), PIXELS)
    np.testing.assert_array_equal(pixels_of(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "PA", "RGBa", "I;16"])
def test_a_pillow_image_of_any_mode_shows_what_pillow_shows(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else _convert(image, mode)
    expected = np.repeat(PIXELS[..., :1], 3, axis=2) if mode == "I;16" else np.asarray(image.convert("RGB"))
    assert image.mode == mode
    np.testing.assert_array_equal(pixels_of(image), expected)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.frombytes("LAB", image.size, image.tobytes())
    return image.convert({"PA": "P", "RGBa": "RGBA"}.get(mode, mode)).convert(mode)


def test_an_orientation_turns_no_pixels() -> None:
    data = oriented(PIXELS, "PNG", 6)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels_of(image), PIXELS)
    assert decode(data, Limits()).shape == (40, 30, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 2), np.uint8), "(4, 4, 2)"),
        (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
        (Image.new("RGB", (0, 5)), "0x5"),
        (Image.new("F", (2, 2)), "mode F does not say which value is white"),
        (Image.new("I", (2, 2)), "mode I does not say which value is white"),
    ],
    ids=["float", "channels", "no rows", "no columns", "F", "I"],
)
def test_what_is_no_image_is_refused_before_it_is_sent(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        upload_of(image)


def test_a_file_of_text_and_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"bytes, got str.*'rb'"):
        upload_of(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got int"):
        upload_of(7)  # type: ignore[arg-type]
