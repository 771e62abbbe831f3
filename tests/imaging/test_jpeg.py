"""A JPEG whose coded data ends before its last row is damaged, also where an end marker closes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.decoding import decode
from imaging.errors import DamagedImage
from imaging.jpeg import read_jpeg_header
from tests.imaging.corners import corners
from tests.imaging.files import LIMITS
from tests.imaging.samples import file_of

SIZE = (450, 670)
PHOTO = Image.fromarray(corners(SIZE))
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "4:2:0": ("RGB", {}),
    "4:2:2": ("RGB", {"subsampling": 1}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "optimised": ("RGB", {"optimize": True}),
    "rgb": ("RGB", {"keep_rgb": True}),
    "grey": ("L", {}),
    "cmyk": ("CMYK", {}),
    "progressive": ("RGB", {"progressive": True}),
}
WORKING = [None, (225, 335), (113, 168), (57, 84)]


def cut(data: bytes, share: float) -> bytes:
    """The file with this share of its first scan's bytes, closed with an end marker."""
    header = read_jpeg_header(data)
    assert header
    end = data.find(b"\xff\xda", header.scan_start) if b"\xff\xc2" in data else len(data)
    return data[: header.scan_start + int((end - header.scan_start) * share)] + b"\xff\xd9"


@pytest.mark.parametrize("working", WORKING, ids=str)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_was_cut_and_closed_is_damaged(kind: str, share: float, working: tuple[int, int] | None) -> None:
    mode, options = KINDS[kind]
    data = file_of(PHOTO.convert(mode), "JPEG", quality=90, **options)
    assert decode(data, LIMITS, working).shape[:2] == (working or SIZE)
    with pytest.raises(DamagedImage, match="its coded data ends before its last rows"):
        decode(cut(data, share), LIMITS, working)


@pytest.mark.parametrize("working", WORKING, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("color", [(128, 128, 128), (127, 127, 127)], ids=["128", "127"])
def test_a_photo_that_ends_in_middle_grey_is_none(kind: str, color: tuple[int, ...], working: tuple[int, int] | None) -> None:
    """Wholly grey, grey from the middle on, and grey in its last corner alone."""
    mode, options = KINDS[kind]
    for box in ((0, 0, 670, 450), (0, 200, 670, 450), (300, 440, 670, 450), (600, 400, 670, 450)):
        photo = PHOTO.copy()
        photo.paste(color, box)
        data = file_of(photo.convert(mode), "JPEG", quality=90, **options)
        assert decode(data, LIMITS, working).shape[:2] == (working or SIZE)


def test_grey_noise_around_the_middle_is_none() -> None:
    noise = np.random.default_rng(0).integers(127, 129, (*SIZE, 3), dtype=np.uint8)
    for quality in (50, 75, 95, 100):
        assert decode(file_of(Image.fromarray(noise), "JPEG", quality=quality), LIMITS).shape[:2] == SIZE


def test_the_codes_of_a_table_are_those_of_the_standard() -> None:
    """The luminance DC codes of table K.3, which libjpeg writes unless it optimises them."""
    header = read_jpeg_header(file_of(PHOTO, "JPEG"))
    assert header
    lengths = {symbol: len(code) for (kind, table, symbol), code in header.codes.items() if (kind, table) == (0, 0)}
    assert lengths == {0: 2, 1: 3, 2: 3, 3: 3, 4: 3, 5: 3, 6: 4, 7: 5, 8: 6, 9: 7, 10: 8, 11: 9}
    assert header.codes[0, 0, 0] == "00"
    assert header.codes[1, 0, 0] == "1010"
    assert header.codes[1, 1, 0] == "00"
