"""What a TIFF's tags say of its samples is what decoding gives, or the file is refused; and which page is the image."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import Limits, OpenImage, decode, read_size
from imaging.errors import DamagedImage, ImageTooLarge, UnknownImageType
from imaging.formats.tiff import MOST_PAGES, check_tables
from tests.support.images import Pixels
from tests.support.imaging.corners import ALPHA, GREY, PALETTE, PICTURE, SIZE, corners, tiff, with_tag
from tests.support.imaging.corpus import LIMITS
from tests.support.imaging.samples import over_white, rgb

BIT_REVERSAL = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
APART = np.ascontiguousarray(PICTURE.transpose(2, 0, 1))
YCBCR = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
CMYK = np.asarray(Image.fromarray(PICTURE).convert("CMYK"))
FULL = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
VIDEO = (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)
LARGE, THUMBNAIL = corners((180, 268)), corners((45, 67))
REDUCED: dict[str, Any] = {"subfiletype": 1}


def renumber(data: bytes, tag: int, number: int = 65000) -> bytes:
    """A little-endian TIFF in which a tag has another number; 65000 is none that anybody knows."""
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    (place,) = (at for at in range(start + 2, start + 2 + 12 * entries, 12) if struct.unpack_from("<H", data, at) == (tag,))
    return data[:place] + struct.pack("<H", number) + data[place + 2 :]


def assert_unread(data: bytes, reason: str) -> None:
    with pytest.raises(UnknownImageType, match=f"{reason}.*; save it"):
        decode(data, LIMITS)


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}], ids=["one strip", "strips", "tiles"])
@pytest.mark.parametrize(
    ("samples", "expected", "options"),
    [
        (PICTURE, PICTURE, {"photometric": "rgb"}),
        (APART, PICTURE, {"photometric": "rgb", "planarconfig": "separate"}),
        (GREY, rgb(GREY), {"photometric": "minisblack"}),
        (GREY, rgb(255 - GREY), {"photometric": "miniswhite"}),
        (GREY // 16, PALETTE[GREY // 16], {"photometric": "palette", "colormap": PALETTE.T.astype(np.uint16) * 257}),
    ],
    ids=["rgb", "planes apart", "grey", "white is 0", "palette"],
)
def test_bits_in_reverse_order_are_read_or_refused(
    samples: Any, expected: Any, options: dict[str, Any], layout: dict[str, Any]
) -> None:
    """Fill order 2, uncompressed."""
    data = renumber(tiff(BIT_REVERSAL[samples], extratags=[(65000, "H", 1, 2, True)], **options, **layout), 65000, 266)
    if options.get("planarconfig") or options["photometric"] == "miniswhite":
        assert_unread(data, "planes apart|is of a kind that is not read")
    else:
        assert np.array_equal(decode(data, LIMITS), expected)


def test_grey_multiplied_by_its_opacity_lies_over_white() -> None:
    opacity = ALPHA.astype(int)
    grey = (GREY * opacity + 127) // 255
    data = tiff(np.dstack([grey, opacity]).astype(np.uint8), photometric="minisblack", extrasamples=["assocalpha"])
    assert np.abs(decode(data, LIMITS).astype(int) - over_white(rgb(GREY), ALPHA)).max() <= 2


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_grey_tiff_without_polarity_is_refused_and_a_fax_is_black_on_white(compression: str | None) -> None:
    assert_unread(renumber(tiff(GREY, photometric="minisblack", compression=compression), 262), "0 is black or white")
    bits = Image.fromarray(GREY > 127)
    for name in ("group3", "group4"):
        fax = file_of(bits, "TIFF", compression=name, tiffinfo={262: 0})
        assert np.array_equal(decode(renumber(fax, 262), LIMITS), rgb((GREY > 127) * np.uint8(255)))


@pytest.mark.parametrize(
    ("sampling", "reference", "right"),
    [((1, 1), FULL, True), ((1, 1), None, True), ((2, 2), FULL, False), ((2, 1), None, False), ((1, 1), VIDEO, False)],
    ids=str,
)
def test_uncompressed_ycbcr_is_read_where_it_is_plain(
    sampling: tuple[int, int], reference: tuple[int, ...] | None, right: bool
) -> None:
    tags = [(530, "H", 2, sampling, True), *([(532, "2I", 6, reference, True)] if reference else [])]
    data = tiff(YCBCR, photometric="rgb", extratags=tags)
    data = with_tag(data, 262, [6])
    if right:
        assert np.abs(decode(data, LIMITS).astype(int) - PICTURE).max() <= 4
    else:
        assert_unread(data, "YCbCr of its own sampling or range")


def test_inks_that_are_not_cmyk_are_refused() -> None:
    expected = np.asarray(Image.fromarray(CMYK, "CMYK").convert("RGB"))
    for ink_set in (1, 2):
        data = tiff(CMYK, photometric="separated", extratags=[(332, "H", 1, ink_set, True)])
        if ink_set == 1:
            assert np.array_equal(decode(data, LIMITS), expected)
        else:
            assert_unread(data, "inks other than CMYK")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_fourth_sample_of_which_nothing_is_said_must_be_full(depth: type[np.unsignedinteger[Any]]) -> None:
    """Pillow takes it for opacity; it may be infrared."""
    most = np.iinfo(depth).max
    full = np.full(SIZE, 255, np.uint8)
    for fourth, right in ((full, True), (ALPHA, False)):
        samples = np.dstack([PICTURE, fourth]).astype(depth) * depth(most // 255)
        data = renumber(tiff(samples, photometric="rgb", extrasamples=["unassalpha"]), 338)
        if right:
            assert np.abs(decode(data, LIMITS).astype(int) - PICTURE).max() <= 1
        else:
            assert_unread(data, "a fourth sample")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}], ids=["one strip", "strips", "tiles"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_one_number_of_bits_counts_for_all_samples(planes: str, layout: dict[str, Any], compression: str | None) -> None:
    samples = PICTURE if planes == "contig" else APART
    data = tiff(samples, photometric="rgb", planarconfig=planes, compression=compression, **layout)
    assert np.array_equal(decode(with_tag(data, 258, [8]), LIMITS), PICTURE)


def test_opacity_and_more_in_planes_apart_is_refused_as_unread() -> None:
    samples = np.concatenate([APART, ALPHA[None], ALPHA[None]])
    for compression in (None, "zlib"):
        options = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
        assert_unread(tiff(samples, extrasamples=["unassalpha", "unspecified"], **options), "planes apart")


@pytest.mark.parametrize("polarity", ["minisblack", "miniswhite"])
def test_grey_with_a_palette_is_refused(polarity: str) -> None:
    """GDAL reads its colours, and Pillow its grey."""
    assert_unread(
        tiff(GREY, photometric=polarity, extratags=[(320, "H", 768, tuple(range(768)), True)]), "grey and has a palette"
    )
    assert_is(tiff(PICTURE, photometric="rgb", extratags=[(320, "H", 768, tuple(range(768)), True)]), PICTURE)


@pytest.mark.parametrize("says", [True, False], ids=["unspecified", "no word"])
def test_grey_with_a_second_sample_that_is_not_called_opacity_is_refused(says: bool) -> None:
    data = tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["unspecified"])
    assert_unread(data if says else renumber(data, 338), "a second sample")


def test_strips_beside_tiles_are_damage_and_missing_strips_are_counted() -> None:
    both = renumber(tiff(PICTURE, photometric="rgb", tile=(16, 32), extratags=[(65000, "I", 1, 8, True)]), 65000, 273)
    with pytest.raises(DamagedImage, match="strips as well as tiles"):
        read_size(both, LIMITS)
    strips = tiff(PICTURE, photometric="rgb", rowsperstrip=15)
    with pytest.raises(DamagedImage, match=r"3 strips.* 2"):
        read_size(with_tag(strips, 279, [3015, 0, 3015]), LIMITS)


def test_of_a_tag_that_stands_twice_the_first_counts_for_pillow_and_for_libtiff() -> None:
    data = tiff(PICTURE, photometric="rgb", compression="zlib", extratags=[(65000, "H", 1, 1, True)])
    assert np.array_equal(decode(renumber(data, 65000, 259), LIMITS), PICTURE)
    tiles = tiff(PICTURE, photometric="rgb", tile=(16, 32), compression="zlib", extratags=[(65000, "I", 1, 60_000, True)])
    assert np.array_equal(decode(renumber(tiles, 65000, 322), LIMITS), PICTURE)


def pages(*written: tuple[Pixels, dict[str, Any]], **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for samples, tags in written:
            writer.write(samples, metadata=None, **({"photometric": "rgb" if samples.ndim == 3 else "minisblack"} | tags))
    return file.getvalue()


def assert_is(data: bytes, expected: Pixels) -> None:
    assert read_size(data, LIMITS) == expected.shape[:2]
    assert np.array_equal(decode(data, LIMITS), expected)


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


def test_tables_that_pages_share_are_not_read_for_each() -> None:
    """64 masks whose strips lie where the same long tables say: their bytes are counted for each page, and not read."""
    count, directory = 20_000, 2 + 6 * 12 + 4
    table = 8 + MOST_PAGES * directory
    data = bytearray(struct.pack("<2sHI", b"II", 42, 8))
    for number in range(1, MOST_PAGES + 1):
        values = {254: (1, 4), 256: (1, 1), 257: (1, count), 273: (count, table), 278: (1, 1), 279: (count, table + 4 * count)}
        following = 8 + number * directory if number < MOST_PAGES else 0
        entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in values.items())
        data += struct.pack("<H", len(values)) + entries + struct.pack("<I", following)
    with pytest.raises(DamagedImage, match="tags have"):
        check_tables(io.BytesIO(data + bytes(8 * count)))


@pytest.mark.parametrize("place", [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_place_that_no_file_can_have_is_no_page(tmp_path: Path, place: int) -> None:
    """The system takes no such place, and refuses it otherwise than bytes in memory do."""
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, place) + bytes(99))
    with (tmp_path / "a.tif").open("rb") as file:
        check_tables(file)
