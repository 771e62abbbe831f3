"""A JPEG's colours, sampling and scans are read as its headers say, and coded data that ends early is damage."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import decode, read_size
from imaging.errors import DamagedImage, UnknownImageType
from imaging.formats.jpeg import read_jpeg_header
from tests.support.imaging.corners import GREY, PICTURE, corners
from tests.support.imaging.corpus import LIMITS
from tests.support.imaging.jpegs import adobe, components, jpeg
from tests.support.imaging.samples import rgb

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
INKS = [255 - plane for plane in components(PICTURE, "CMYK")]  # as Adobe's programs write them: 0 is all ink
FACTORS = [
    [(1, 1), (1, 1), (1, 1)],
    [(2, 1), (1, 1), (1, 1)],
    [(1, 2), (1, 1), (1, 1)],
    [(2, 2), (1, 1), (1, 1)],
    [(4, 1), (1, 1), (1, 1)],
    [(4, 2), (1, 1), (1, 1)],
    [(3, 1), (1, 1), (1, 1)],
    [(2, 2), (2, 1), (1, 2)],
    [(1, 1), (2, 2), (2, 2)],
    [(2, 2), (2, 1), (2, 1)],
]


def cut(data: bytes, share: float) -> bytes:
    """The file with this share of its first scan's bytes, closed with an end marker."""
    header = read_jpeg_header(data)
    assert header
    end = data.find(b"\xff\xda", header.scan_start) if b"\xff\xc2" in data else len(data)
    return data[: header.scan_start + int((end - header.scan_start) * share)] + b"\xff\xd9"


@pytest.mark.parametrize("working", WORKING[::2], ids=str)
@pytest.mark.parametrize("share", [0.05, 0.97])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_was_cut_and_closed_is_damaged(kind: str, share: float, working: tuple[int, int] | None) -> None:
    mode, options = KINDS[kind]
    data = file_of(PHOTO.convert(mode), "JPEG", quality=90, **options)
    assert decode(data, LIMITS, working).shape[:2] == (working or SIZE)
    with pytest.raises(DamagedImage, match=r"its coded data ends before its last rows|its scans lack coefficients of"):
        decode(cut(data, share), LIMITS, working)


def test_a_progressive_jpeg_without_all_of_its_scans_is_damaged() -> None:
    data = file_of(PHOTO, "JPEG", progressive=True)
    scans = [index for index in range(len(data)) if data.startswith(b"\xff\xda", index)]
    assert len(scans) > 4
    assert decode(data, LIMITS).shape == (*SIZE, 3)
    for start in scans[1:]:
        with pytest.raises(DamagedImage, match=r"its scans lack coefficients of [123] of its 3 components"):
            decode(data[:start] + b"\xff\xd9", LIMITS)


@pytest.mark.parametrize("scans", [[0, 1, 2], [2, 0, 1]], ids=str)
def test_components_in_scans_of_their_own_are_all_there_or_the_jpeg_is_damaged(scans: list[int]) -> None:
    planes = components(PICTURE)
    for factors in (FACTORS[0], FACTORS[3]):
        image = decode(jpeg(planes, factors, scans=scans), LIMITS)
        assert np.abs(image.astype(int) - PICTURE).mean() < (3 if factors[0] == (1, 1) else 8)
        for count in range(1, len(scans)):
            with pytest.raises(DamagedImage, match=r"its scans lack coefficients of \d of its 3 components"):
                decode(jpeg(planes, factors, scans=scans[:count]), LIMITS)
        for share in (0.2, 0.9):
            with pytest.raises(DamagedImage, match="its coded data ends before its last rows"):
                decode(jpeg(planes, factors, scans=scans, share=share), LIMITS)


@pytest.mark.parametrize("restart", [0, 2])
@pytest.mark.parametrize("fill", [b"", b"\xff\xff\xff", b"\0\0\0\0", b"\xa5" * 9], ids=["none", "ones", "zeros", "more"])
def test_what_stands_between_the_coded_data_and_the_end_marker_changes_nothing(fill: bytes, restart: int) -> None:
    grey = PICTURE.copy()
    grey[20:] = 128
    for picture in (PICTURE, grey):
        for subsampling in (0, 2):
            data = file_of(Image.fromarray(picture), "JPEG", subsampling=subsampling, restart_marker_blocks=restart)
            assert np.abs(decode(data[:-2] + fill + data[-2:], LIMITS).astype(int) - picture).mean() < 8
            if picture is PICTURE:
                with pytest.raises(DamagedImage, match=r"its coded data ends before its last rows|restart markers are there"):
                    decode(cut(data, 0.9)[:-2] + fill[:3] + data[-2:], LIMITS)


@pytest.mark.parametrize("working", WORKING[::2], ids=str)
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


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_any_sampling_factors_give_the_picture_whole_and_reduced(factors: list[tuple[int, int]]) -> None:
    picture = corners((181, 267))
    data = jpeg(components(picture), factors)
    for working in (None, (91, 134), (46, 67), (60, 90)):
        expected = np.asarray(Image.fromarray(picture).resize((working or (181, 267))[::-1], Image.Resampling.BILINEAR))
        assert np.abs(decode(data, LIMITS, working).astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(components(PICTURE), [(3, 1), (2, 1), (1, 1)]), "has sampling factors 3x1, 2x1, 1x1"),
        (jpeg(INKS), "has 4 components and does not say whether 0 is all ink or none"),
        (jpeg(components(PICTURE), height=0), r"of a kind that is not read \(frame 0xc0, 3 components of 8 bits, 0 rows\)"),
        (imagecodecs.jpegls_encode(PICTURE), r"of a kind that is not read \(frame 0xf7, "),
    ],
    ids=["factors", "inks", "height", "jpeg-ls"],
)
def test_a_jpeg_that_is_not_read_is_named_with_how_to_convert_it(data: bytes, reason: str) -> None:
    for function in (decode, read_size):
        with pytest.raises(UnknownImageType, match=f"{reason}.*; save it"):
            function(data, LIMITS)


def test_what_adobes_marker_says_of_the_colors_is_so() -> None:
    cmyk = np.asarray(Image.fromarray(PICTURE).convert("CMYK").convert("RGB")).astype(int)
    assert np.abs(decode(jpeg(INKS, before=adobe(0)), LIMITS) - cmyk).mean() < 3
    ycck = [*components(255 - np.dstack(INKS[:3])), INKS[3]]
    assert np.abs(decode(jpeg(ycck, before=adobe(2)), LIMITS) - cmyk).mean() < 3
    for transform, mode in ((0, "RGB"), (1, "YCbCr")):
        image = decode(jpeg(components(PICTURE, mode), before=adobe(transform)), LIMITS)
        assert np.abs(image.astype(int) - PICTURE).mean() < 3


@pytest.mark.parametrize("working", [None, (23, 34), (12, 17)], ids=str)
def test_a_lossless_jpeg_is_read_at_every_size(working: tuple[int, int] | None) -> None:
    expected = Image.fromarray(rgb(GREY)).resize((working or GREY.shape)[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(decode(imagecodecs.ljpeg_encode(GREY), LIMITS, working), np.asarray(expected))
