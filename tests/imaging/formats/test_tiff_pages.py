"""Which page of a TIFF is the image: pages that are declared smaller versions, thumbnails, masks, parts, raw files."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

from imaging.decoding import Limits, OpenImage, decode, read_size
from imaging.errors import DamagedImage, ImageTooLarge, UnknownImageType
from imaging.formats.tiff import MOST_PAGES
from tests.support.images import Pixels
from tests.support.imaging.corners import PICTURE, corners, tiff
from tests.support.imaging.corpus import LIMITS

LARGE = corners((180, 268))
THUMBNAIL = corners((45, 67))
Written = tuple[Pixels, dict[str, Any]]


def pages(*written: Written, **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for samples, tags in written:
            writer.write(samples, metadata=None, **({"photometric": "rgb" if samples.ndim == 3 else "minisblack"} | tags))
    return file.getvalue()


def assert_is(data: bytes, expected: Pixels) -> None:
    assert read_size(data, LIMITS) == expected.shape[:2]
    assert np.array_equal(decode(data, LIMITS), expected)


REDUCED: dict[str, Any] = {"subfiletype": 1}


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32), "compression": "zlib"}, {"compression": "lzw"}], ids=str)
def test_behind_a_declared_thumbnail_the_largest_page_is_read(options: dict[str, Any], layout: dict[str, Any]) -> None:
    middle = corners((90, 134))
    for first in (THUMBNAIL, corners((30, 30)), corners((60, 20))):  # whatever its shape
        assert_is(pages((first, REDUCED), (LARGE, layout), **options), LARGE)
        assert_is(pages((first, REDUCED), (middle, REDUCED), (LARGE, layout), (middle, REDUCED), **options), LARGE)


def test_a_smaller_version_may_be_declared_as_before_tiff_6() -> None:
    assert_is(pages((THUMBNAIL, {"extratags": [(255, "H", 1, 2, True)]}), (LARGE, {})), LARGE)


def test_an_orientation_and_a_limit_are_those_of_the_chosen_page() -> None:
    data = pages((THUMBNAIL, REDUCED), (LARGE, {"extratags": [(274, "H", 1, 6, True)]}))
    assert_is(data, np.rot90(LARGE, -1))
    with pytest.raises(ImageTooLarge, match="180x268"):
        read_size(data, Limits(0.01))
    plain = tiff(LARGE, photometric="rgb")
    assert OpenImage(data, LIMITS).decoding_bytes() >= OpenImage(plain, LIMITS).decoding_bytes()


def test_pages_of_a_stack_a_pyramid_and_a_mask_change_nothing() -> None:
    other = PICTURE[::-1].copy()
    assert_is(pages((PICTURE, {}), (other, {})), PICTURE)
    assert_is(pages((LARGE, {}), (THUMBNAIL, REDUCED), (THUMBNAIL, {})), LARGE)
    assert_is(pages((LARGE, {"subifds": 1}), (THUMBNAIL, REDUCED)), LARGE)
    mask = np.ones((180, 268), bool), {"subfiletype": 4, "photometric": "mask"}
    assert_is(pages((PICTURE, {}), mask), PICTURE)
    assert_is(pages((PICTURE, {}), (corners((64, 95)), {})), PICTURE)  # two sheets of paper, one of the next size
    assert_is(pages((PICTURE, {}), (corners((400, 100)), {})), PICTURE)
    assert_is(pages((PICTURE, REDUCED)), PICTURE)
    assert_is(pages((PICTURE, {}), *((corners((20, 20)), {}) for _ in range(MOST_PAGES))), PICTURE)


@pytest.mark.parametrize("sub", [False, True], ids=["a page", "a part"])
def test_what_looks_like_a_thumbnail_and_does_not_say_so_is_refused(sub: bool) -> None:
    data = pages((THUMBNAIL, {"subifds": 1} if sub else {}), (LARGE, {}))
    for function in (decode, read_size):
        with pytest.raises(UnknownImageType, match=r"first page of the TIFF has 67x45 pixels, .* 268x180; save the page"):
            function(data, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        pages((THUMBNAIL, REDUCED | {"extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]}), (LARGE, {})),
        pages((THUMBNAIL, REDUCED | {"subifds": 1}), (LARGE, {})),
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(4) + struct.pack("<HHHIII", 1, 256, 3, 1, 4, 0) + bytes(40),
    ],
    ids=["DNG", "NEF", "CR2"],
)
def test_a_raw_file_is_named(data: bytes) -> None:
    with pytest.raises(UnknownImageType, match="a camera's raw file"):
        decode(data, LIMITS)


def directories(*starts: int) -> bytes:
    """A TIFF whose directories lie at these bytes, each of which leads to the next one, and the last to the first."""
    data = bytearray(max(starts) + 100)
    data[:8] = struct.pack("<2sHI", b"II", 42, starts[0])
    for start, following in zip(starts, [*starts[1:], starts[0]], strict=True):
        struct.pack_into("<HHHIII", data, start, 1, 254, 4, 1, 1, following)
    return bytes(data)


def test_directories_that_lead_in_a_circle_or_beyond_the_file_are_damaged() -> None:
    cut_off = (directories(8, 40)[:50], directories(8)[:15], b"II*\0\xff\xff\xff\xff")
    for data in (directories(8), directories(8, 200, 100), *cut_off):
        with pytest.raises(DamagedImage):
            read_size(data, LIMITS)
