"""Bytes of every accepted kind become upright RGB."""

from __future__ import annotations

import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from benchmarks.harness.image_files import file_of
from imaging import conversion
from imaging.decoding import OpenImage, decode, read_size, scale
from imaging.errors import DamagedImage
from tests.support.costs import compares_times, cpu_seconds
from tests.support.images import encode, exif_of, make_photo, open_image
from tests.support.imaging.corpus import LIMITS, SAMPLES
from tests.support.imaging.samples import SIZE, Sample, late_exif_png, oriented, upright

PHOTO = make_photo(400, 600)
LOSSY = {"JPEG": {"quality": 95}, "MPO": {"quality": 95, "save_all": True, "append_images": [Image.new("RGB", (600, 400))]}}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_kind_becomes_rgb_of_the_announced_size(sample: Sample) -> None:
    image = decode(sample.data, LIMITS)
    assert image.dtype == np.uint8
    assert image.shape == sample.pixels.shape
    assert read_size(sample.data, LIMITS) == image.shape[:2] == SIZE
    assert np.abs(image.astype(int) - sample.pixels).max() <= sample.tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_every_exif_orientation_comes_out_upright(format: str, orientation: int) -> None:
    photo = make_photo(*SIZE)
    pixels, result = (
        decode(file_of(Image.fromarray(photo), format), LIMITS),
        decode(oriented(photo, format, orientation), LIMITS),
    )
    assert np.array_equal(result, upright(pixels, orientation))
    assert result.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("band", [1, 100, 5000])
def test_pixels_are_turned_band_by_band(monkeypatch: pytest.MonkeyPatch, orientation: int, band: int) -> None:
    monkeypatch.setattr(conversion, "BAND_PIXELS", band)
    photo = make_photo(*SIZE)
    assert np.array_equal(decode(oriented(photo, "PNG", orientation), LIMITS), upright(photo, orientation))


@pytest.mark.parametrize("working", [(400, 600), (200, 300), (99, 149), (40, 60), (2, 3), (1, 1), (500, 700)], ids=str)
@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_image_comes_at_the_working_size_exactly(format: str, working: tuple[int, int]) -> None:
    data = file_of(Image.fromarray(PHOTO), format, **LOSSY.get(format, {}))
    image, expected = decode(data, LIMITS, working), scale(decode(data, LIMITS), working)
    assert (image.shape, image.dtype) == ((*working, 3), np.uint8)
    assert read_size(data, LIMITS) == PHOTO.shape[:2]
    difference = np.abs(image.astype(int) - expected)
    if format in LOSSY and max(working) <= 300:  # libjpeg's reduced size
        assert difference.mean() < 2
    else:
        assert difference.max() == 0


def test_a_multi_picture_jpeg_is_its_first_picture_reduced_as_a_jpeg_is() -> None:
    several = file_of(Image.fromarray(PHOTO), "MPO", **LOSSY["MPO"])
    single = file_of(Image.fromarray(PHOTO), "JPEG", **LOSSY["JPEG"])
    with open_image(several) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    for working in (None, (100, 150), (30, 45)):
        assert np.array_equal(decode(several, LIMITS, working), decode(single, LIMITS, working))
    # reduced by libjpeg, which leaves out what scaling all of its pixels would average
    assert not np.array_equal(decode(several, LIMITS, (30, 45)), scale(decode(several, LIMITS), (30, 45)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_every_exif_orientation_is_scaled_as_the_upright_image(format: str, orientation: int) -> None:
    data = oriented(PHOTO, format, orientation)
    height, width = read_size(data, LIMITS)
    for working in ((height // 2, width // 2), (height // 9, width // 7)):
        image, expected = decode(data, LIMITS, working), scale(decode(data, LIMITS), working)
        assert image.shape == (*working, 3)
        difference = np.abs(image.astype(int) - expected)
        assert difference.max() <= (1 if format != "JPEG" else 24)
        assert difference.mean() < 2


def test_scaling_down_averages_all_pixels_and_scaling_up_interpolates_between_their_centres() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::8] = 240
    assert np.abs(scale(lines, (8, 8))[:, 1:-1].astype(int) - 30).max() <= 2
    two = np.array([[[0, 10, 200], [100, 30, 0]]], np.uint8)
    line = scale(two, (1, 4))[0].astype(int)
    assert np.abs(line - [[0, 10, 200], [25, 15, 150], [75, 25, 50], [100, 30, 0]]).max() <= 1
    assert scale(two, (1, 2)) is two


@pytest.mark.parametrize("working", [(9, 11), (15, 20), SIZE], ids=str)
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_photo_beside_its_scaled_pixels_is_as_without_them(sample: Sample, working: tuple[int, int]) -> None:
    image = OpenImage(sample.data, LIMITS).decode(working, with_photo=True)
    np.testing.assert_array_equal(image.photo, decode(sample.data, LIMITS))
    assert np.array_equal(image.pixels, decode(sample.data, LIMITS, working))


@pytest.mark.parametrize("working", [(9, 11), (15, 20), SIZE], ids=str)
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_photo_at_the_answers_size_is_the_scaled_photo(sample: Sample, working: tuple[int, int]) -> None:
    for size in ((9, 11), (14, 19)):
        image = OpenImage(sample.data, LIMITS).decode(working, size, with_photo=True)
        assert image.photo is not None
        assert np.abs(image.photo.astype(int) - scale(decode(sample.data, LIMITS), size)).mean() < 6
        assert np.array_equal(image.pixels, decode(sample.data, LIMITS, working))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_behind_the_pixels_of_a_png_counts(orientation: int) -> None:
    data = late_exif_png(make_photo(*SIZE), orientation)
    assert data.index(b"eXIf") > data.index(b"IDAT")
    assert np.array_equal(decode(data, LIMITS), upright(make_photo(*SIZE), orientation))
    assert read_size(data, LIMITS) == (SIZE if orientation < 5 else SIZE[::-1])


@compares_times
def test_an_orientation_behind_the_pixels_is_read_without_decoding_them() -> None:
    good = late_exif_png(np.zeros((2000, 3000, 3), np.uint8), 6)
    start = good.index(b"IDAT") + 4
    data = good[:start] + b"\xff" * 20 + good[start + 20 :]
    assert read_size(data, LIMITS) == (3000, 2000)
    assert cpu_seconds(lambda: read_size(good, LIMITS)) < cpu_seconds(lambda: decode(good, LIMITS), tries=1) / 10
    with pytest.raises(DamagedImage):
        decode(data, LIMITS)


@pytest.mark.parametrize("between", [bytes(40), b"\0\0\0\2eXIfMMbad crc"], ids=["zeros", "an unreadable chunk"])
def test_what_is_unreadable_behind_the_pixels_of_a_png_is_left_out(between: bytes) -> None:
    data = file_of(Image.fromarray(make_photo(*SIZE)), "PNG")
    end = data.rindex(b"IEND") - 4
    assert np.array_equal(decode(data[:end] + between + data[end:], LIMITS), make_photo(*SIZE))


def test_a_color_profile_is_ignored() -> None:
    photo = make_photo(*SIZE)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(decode(file_of(Image.fromarray(photo), "PNG", icc_profile=profile), LIMITS), photo)


def test_one_pixel_is_an_image() -> None:
    assert decode(file_of(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), LIMITS).tolist() == [[[1, 2, 3]]]


def test_what_pillow_warns_of_is_not_told() -> None:
    data = file_of(Image.fromarray(make_photo(*SIZE)), "JPEG", exif=exif_of(1).tobytes()[:-6])
    with pytest.warns(UserWarning, match="Corrupt EXIF"), open_image(data) as image:
        image.getexif()
    assert decode(data, LIMITS).shape == (*SIZE, 3)


def test_decoding_threads_leave_the_others_their_warnings() -> None:
    data = file_of(Image.fromarray(make_photo(200, 300)), "PNG")
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(decode, data, LIMITS) for _ in range(100)]
        while not all(each.done() for each in futures):
            with pytest.raises(UserWarning, match="another"):
                warnings.warn("another thread's", UserWarning, stacklevel=1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_xmp_turns_no_image(format: str) -> None:
    """Pillow would turn a TIFF after it has announced its size, and a plan for that size would be for another image."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp}
    if format == "TIFF":
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[700] = xmp
        options = {"tiffinfo": directory}
    elif format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": texts}
    data = encode(make_photo(*SIZE), format, **options)
    assert xmp in data
    assert read_size(data, LIMITS) == decode(data, LIMITS).shape[:2] == SIZE
    assert np.array_equal(decode(data, LIMITS), decode(encode(make_photo(*SIZE), format), LIMITS))


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHL4s", 0x0112, 2, 2, b"6"),
        struct.pack("<HHLL", 0x0112, 5, 1, 26) + bytes(4) + struct.pack("<LL", 1, 0),
        struct.pack("<HHLHH", 0x0112, 3, 1, 99, 0),
    ],
    ids=["text", "1/0", "99"],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_orientation_that_is_none_is_left_aside(format: str, entry: bytes) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 1) + entry + bytes(4)
    photo = make_photo(*SIZE)
    assert np.array_equal(decode(encode(photo, format, exif=exif), LIMITS), decode(encode(photo, format), LIMITS))


def test_a_png_whose_exif_cannot_be_read_is_an_image_all_the_same() -> None:
    data = encode(make_photo(*SIZE), exif=b"garbage1 and more")
    assert b"eXIf" in data
    assert np.array_equal(decode(data, LIMITS), make_photo(*SIZE))
