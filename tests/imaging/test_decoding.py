"""Bytes of every accepted kind become upright RGB."""

from __future__ import annotations

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from imaging import decoding
from imaging.decoding import SHORT, Limits, decode, peek_size, read_size
from imaging.errors import ImageTooLarge
from tests.conftest import make_photo
from tests.imaging.files import LIMITS, NOISE, SAMPLES
from tests.imaging.samples import SIZE, Sample, file_of, grey16_png, oriented, upright


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_kind_becomes_rgb(sample: Sample) -> None:
    image = decode(sample.data, LIMITS)
    assert image.dtype == np.uint8
    assert image.shape == sample.pixels.shape
    assert np.abs(image.astype(int) - sample.pixels).max() <= sample.tolerance


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_the_announced_size_is_the_decoded_one(sample: Sample) -> None:
    assert read_size(sample.data, LIMITS) == decode(sample.data, LIMITS).shape[:2] == SIZE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(format: str, orientation: int) -> None:
    photo = make_photo(*SIZE)
    stored = decode(file_of(Image.fromarray(photo), format), LIMITS)
    assert np.array_equal(decode(oriented(photo, format, orientation), LIMITS), upright(stored, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("band", [1, 100, 5000])
def test_pixels_are_turned_band_by_band(monkeypatch: pytest.MonkeyPatch, orientation: int, band: int) -> None:
    monkeypatch.setattr(decoding, "BAND_PIXELS", band)
    photo = make_photo(*SIZE)
    assert np.array_equal(decode(oriented(photo, "PNG", orientation), LIMITS), upright(photo, orientation))


def test_the_decoder_is_given_large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    data = file_of(Image.fromarray(noise), "JPEG")
    monkeypatch.setattr(decoding.io, "BytesIO", Watched)
    decode(data, LIMITS)
    assert len(data) > ImageFile.MAXBLOCK
    assert max(asked) >= len(data)


def test_pixels_can_be_written_and_stay_where_they_were_decoded() -> None:
    image = decode(file_of(Image.fromarray(make_photo(*SIZE)), "PNG"), LIMITS)
    assert image.flags.writeable
    assert isinstance(image.base, np.ndarray)
    assert image.base.shape == (*image.shape[:2], 4)


def test_pixels_that_are_turned_lie_together() -> None:
    assert decode(oriented(make_photo(*SIZE), "JPEG", 6), LIMITS).flags.c_contiguous


@pytest.mark.parametrize(
    ("working", "expected"),
    [(None, (400, 600)), ((200, 300), (400, 600)), ((190, 300), (400, 600)), ((100, 150), (200, 300)), ((99, 149), (200, 300)),
     ((40, 60), (100, 150)), ((2, 3), (50, 75))],
    ids=str,
)  # fmt: skip
def test_a_jpeg_comes_reduced_but_twice_the_working_size_at_least(
    working: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    data = file_of(Image.fromarray(make_photo(400, 600)), "JPEG", quality=95)
    assert decode(data, LIMITS, working).shape == (*expected, 3)
    assert read_size(data, LIMITS) == (400, 600)


def test_a_reduced_jpeg_is_the_average_of_its_pixels() -> None:
    data = file_of(Image.fromarray(make_photo(400, 600)), "JPEG", quality=95)
    whole, reduced = decode(data, LIMITS).astype(float), decode(data, LIMITS, (50, 75))
    averaged = whole.reshape(100, 4, 150, 4, 3).mean((1, 3))
    assert np.abs(averaged - reduced).mean() < 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_jpeg_is_reduced_as_it_stands(orientation: int) -> None:
    data = oriented(make_photo(400, 800), "JPEG", orientation)
    size = read_size(data, LIMITS)
    assert decode(data, LIMITS, (size[0] // 8, size[1] // 8)).shape == (size[0] // 4, size[1] // 4, 3)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_other_kinds_are_never_reduced(format: str) -> None:
    data = file_of(Image.fromarray(make_photo(*SIZE)), format)
    assert decode(data, LIMITS, (4, 4)).shape[:2] == SIZE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_announced_size_is_upright(format: str, orientation: int) -> None:
    data = oriented(make_photo(*SIZE), format, orientation)
    assert read_size(data, LIMITS) == (SIZE if orientation < 5 else SIZE[::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_with_a_short_header_tells_its_size_without_the_rest(orientation: int) -> None:
    data = oriented(make_photo(*SIZE), "JPEG", orientation)
    assert peek_size(data[:SHORT] + bytes(9), LIMITS) == read_size(data, LIMITS)


def test_a_size_is_not_looked_for_in_a_long_header_nor_in_other_kinds() -> None:
    photo = Image.fromarray(make_photo(*SIZE))
    assert peek_size(file_of(photo, "JPEG", comment=b"x" * SHORT), LIMITS) is None
    assert peek_size(file_of(photo, "PNG"), LIMITS) is None
    assert peek_size(b"", LIMITS) is None


def test_a_jpeg_that_announces_too_much_is_refused_at_a_glance() -> None:
    with pytest.raises(ImageTooLarge):
        peek_size(file_of(Image.fromarray(make_photo(*SIZE)), "JPEG"), Limits(megapixels=1e-6))


def test_an_unknown_exif_orientation_changes_nothing() -> None:
    photo = make_photo(*SIZE)
    assert np.array_equal(decode(oriented(photo, "PNG", 9), LIMITS), photo)


def test_the_transparent_value_of_a_16_bit_grey_png_lies_over_white() -> None:
    values = np.array([[0, 30000, 65535]], np.uint16)
    image = decode(grey16_png(values, tRNS=struct.pack(">H", 30000)), LIMITS)
    assert image[0, :, 0].tolist() == [0, 255, 255]


def test_the_transparent_color_of_an_rgb_png_lies_over_white() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (40, 50, 60))
    assert decode(file_of(image, "PNG", transparency=(10, 20, 30)), LIMITS).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_a_color_profile_is_ignored() -> None:
    photo = make_photo(*SIZE)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(decode(file_of(Image.fromarray(photo), "PNG", icc_profile=profile), LIMITS), photo)


def test_one_pixel_is_an_image() -> None:
    assert decode(file_of(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), LIMITS).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_the_announced_size_needs_no_pixels(format: str) -> None:
    data = file_of(Image.fromarray(NOISE), format)
    assert read_size(data[: len(data) * 2 // 3], LIMITS) == NOISE.shape[:2]


def test_what_pillow_warns_of_is_not_told() -> None:
    with_odd_exif = Image.Exif()
    with_odd_exif[0x0112] = 1
    data = file_of(Image.fromarray(make_photo(*SIZE)), "JPEG", exif=with_odd_exif.tobytes()[:-6])
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(io.BytesIO(data)) as image:
        image.getexif()
    assert decode(data, LIMITS).shape == (*SIZE, 3)


def test_decoding_threads_leave_the_others_their_warnings() -> None:
    data = file_of(Image.fromarray(make_photo(400, 600)), "PNG")
    with ThreadPoolExecutor(4) as pool:
        decoding = [pool.submit(decode, data, LIMITS) for _ in range(100)]
        while not all(each.done() for each in decoding):
            with pytest.raises(UserWarning, match="another"):
                warnings.warn("another thread's", UserWarning, stacklevel=1)
