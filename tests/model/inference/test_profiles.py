"""Pictures of a photo keep its ICC profile where its numbers are still in that profile's colours, within a limit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.harness.image_files import file_of
from imaging.conversion import PROFILE_BYTES
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from tests.support.images import make_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PHOTO = make_photo(60, 90)
PICTURES = [
    Rendering("overlay"),
    Rendering("overlay", image_format="jpeg"),
    Rendering("overlay", image_format="webp"),
    Rendering("cutout", classes=("0", "1")),
]


@pytest.fixture(scope="module")
def segmenter(openvino_runtime: Runtime) -> Segmenter:
    return Segmenter(openvino_runtime)


def profile_of(size: int = len(SRGB), space: bytes = b"RGB ", signature: bytes = b"acsp", length: int = 0) -> bytes:
    """A profile of this many bytes, whose header says so, or another length."""
    content = bytearray(SRGB.ljust(size, b"\x01"))
    content[:4] = (length or size).to_bytes(4, "big")
    content[16:20], content[36:40] = space, signature
    return bytes(content)


def answer(segmenter: Segmenter, data: bytes, rendering: Rendering) -> bytes:
    return segmenter.segment(data, segmenter.plan(data, Options(rendering=rendering))).body


def profile_in(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.info.get("icc_profile") or None


def photo(format: str, profile: bytes, **options: Any) -> bytes:
    return file_of(Image.fromarray(PHOTO), format, icc_profile=profile, **options)


@pytest.mark.parametrize("rendering", PICTURES, ids=lambda rendering: f"{rendering.format} {rendering.picture_format}")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_pictures_keep_the_profile_and_every_pixel(segmenter: Segmenter, format: str, rendering: Rendering) -> None:
    profile = profile_of()
    data = photo(format, profile)
    picture = answer(segmenter, data, rendering)
    assert profile_in(picture) == profile
    assert answer(segmenter, data, rendering) == picture
    plain = answer(segmenter, photo(format, b""), rendering)
    assert profile_in(plain) is None
    np.testing.assert_array_equal(Image.open(io.BytesIO(picture)), Image.open(io.BytesIO(plain)))


def test_a_photo_that_is_decoded_twice_and_one_that_is_turned_keep_it(segmenter: Segmenter) -> None:
    profile, exif = profile_of(), Image.Exif()
    exif[0x0112] = 6
    large = Image.fromarray(make_photo(700, 900))
    picture = answer(segmenter, file_of(large, "JPEG", icc_profile=profile, exif=exif), Rendering("overlay"))
    assert profile_in(picture) == profile
    assert Image.open(io.BytesIO(picture)).size == (700, 900)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_and_a_palette_leave_the_colors_as_they_are(segmenter: Segmenter, mode: str) -> None:
    data = file_of(Image.fromarray(PHOTO).convert(mode), "PNG", icc_profile=profile_of())
    assert profile_in(answer(segmenter, data, Rendering("overlay"))) == profile_of()


@pytest.mark.parametrize(
    ("mode", "space", "format"),
    [
        ("CMYK", b"CMYK", "JPEG"),
        ("CMYK", b"RGB ", "JPEG"),
        ("L", b"GRAY", "PNG"),
        ("L", b"RGB ", "PNG"),
        ("RGB", b"Lab ", "PNG"),
        ("RGB", b"GRAY", "JPEG"),
        ("LAB", b"Lab ", "TIFF"),
        ("1", b"RGB ", "PNG"),
    ],
)
def test_profiles_of_other_colors_are_left_out(segmenter: Segmenter, mode: str, space: bytes, format: str) -> None:
    source = Image.fromarray(PHOTO) if mode != "LAB" else Image.merge("LAB", Image.fromarray(PHOTO).split())
    data = file_of(source.convert(mode), format, icc_profile=profile_of(space=space))
    assert profile_in(answer(segmenter, data, Rendering("overlay"))) is None


@pytest.mark.parametrize(
    ("profile", "stays"),
    [
        (profile_of(PROFILE_BYTES), True),
        (profile_of(PROFILE_BYTES + 1), False),
        (profile_of(3_000_000), False),
        (profile_of(signature=b"evil"), False),
        (profile_of(length=7), False),
        (b"\0" * 40, False),
        (b"x", False),
    ],
    ids=["the limit", "above it", "of a printer", "no signature", "a wrong length", "no header", "a byte"],
)
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_a_profile_is_bounded_and_whole(segmenter: Segmenter, format: str, profile: bytes, stays: bool) -> None:
    picture = answer(segmenter, photo(format, profile), Rendering("overlay", image_format="jpeg"))
    assert profile_in(picture) == (profile if stays else None)


@pytest.mark.parametrize("format", ["png", "color", "binary", "grey", "confidence"])
def test_masks_and_colors_alone_have_no_profile(segmenter: Segmenter, format: Any) -> None:
    classes = ("0",) if format == "binary" else ()
    assert profile_in(answer(segmenter, photo("PNG", profile_of()), Rendering(format, classes=classes))) is None
