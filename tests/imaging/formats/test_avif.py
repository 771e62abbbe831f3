"""AVIF: which files are of this kind, and what Pillow would read wrong or with more than one thread."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import OpenImage, decode, read_size
from imaging.errors import UnknownImageType
from imaging.formats.boxes import check_avif
from imaging.formats.signatures import format_of
from tests.support.costs import threads_of
from tests.support.images import exif_of, make_photo, open_image
from tests.support.imaging.corpus import LIMITS

PHOTO = make_photo(64, 96)
DATA = file_of(Image.fromarray(PHOTO), "AVIF")


def with_clean_aperture(data: bytes) -> bytes:
    """The file with a clean aperture of half its width among the properties of its image."""
    box = struct.pack(">I4s8I", 40, b"clap", 48, 1, 64, 1, 0, 1, 0, 1)
    result = bytearray(data)
    pixels = (data.index(b"mdat") + 4).to_bytes(4, "big")
    place = data.index(pixels, data.index(b"iloc"))  # where the pixels lie, which is now further behind
    result[place : place + 4] = (data.index(b"mdat") + 4 + len(box)).to_bytes(4, "big")
    for kind in (b"meta", b"iprp", b"ipco"):
        start = data.index(kind) - 4
        result[start : start + 4] = (int.from_bytes(data[start : start + 4], "big") + len(box)).to_bytes(4, "big")
    start = data.index(b"ipco") - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    return bytes(result[:end] + box + result[end:])


def test_a_clean_aperture_which_pillow_would_ignore_is_refused() -> None:
    data = with_clean_aperture(DATA)
    with open_image(data) as image:
        image.load()
        assert image.size == (96, 64)
    for function in (read_size, decode):
        with pytest.raises(UnknownImageType, match="shows a part of its pixels"):
            function(data, LIMITS)  # type: ignore[operator]
    check_avif(DATA)


def test_the_word_in_the_pixels_is_no_clean_aperture() -> None:
    start = DATA.index(b"mdat") + 10
    check_avif(DATA[:start] + b"clap" + DATA[start + 4 :])


def test_a_general_brand_is_read_where_the_others_say_what_it_is() -> None:
    general = DATA[:8] + b"mif1" + DATA[12:]
    assert format_of(general) == "AVIF"
    np.testing.assert_array_equal(decode(general, LIMITS), decode(DATA, LIMITS))
    assert format_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIF"
    assert format_of(b"\0\0\0\x10ftypisomavif") == "unknown"  # the version, not a brand
    assert format_of(DATA[:12]) == "AVIF"


@pytest.mark.parametrize(
    "boxes", [b"\0\0\0\1meta", b"\0\0\0\0meta", b"\0\0\0\4meta", b"\xff\xff\xff\xffmeta", b"\0\0\0\1meta" + b"\xff" * 8]
)
def test_odd_lengths_of_boxes_end(boxes: bytes) -> None:
    check_avif(DATA[:32] + boxes + bytes(100))


def test_exif_alone_turns_nothing_and_is_told() -> None:
    """Pillow would write the property for an orientation, so its tag is written as another one first."""
    exif = Image.Exif()
    exif[0x0113] = 6
    still = file_of(Image.fromarray(PHOTO), "AVIF", exif=exif).replace(b"\1\x13\0\3", b"\1\x12\0\3")
    result = OpenImage(still, LIMITS).decode()
    np.testing.assert_array_equal(result.pixels, decode(DATA, LIMITS))
    assert "lacks the property" in result.remark
    sideways = file_of(Image.fromarray(PHOTO), "AVIF", exif=exif_of(6))
    assert not OpenImage(sideways, LIMITS).decode().remark


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_decoding_starts_no_thread() -> None:
    data = file_of(Image.fromarray(make_photo(1500, 2000)), "AVIF", speed=10)
    before, most = threads_of(lambda: decode(data, LIMITS))
    assert most <= before
