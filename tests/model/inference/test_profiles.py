"""Pictures of a photo keep its ICC profile where its numbers are still in that profile's colours, within a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.harness.image_files import file_of
from imaging.conversion import PROFILE_BYTES
from imaging.decoding import Limits, OpenImage
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from tests.support.images import exif_of, make_photo, open_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PHOTO = Image.fromarray(make_photo(60, 90))
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


def answer(segmenter: Segmenter, data: bytes, rendering: Rendering) -> Image.Image:
    return open_image(segmenter.segment(data, segmenter.plan(data, Options(rendering=rendering))).body)


@pytest.mark.parametrize("rendering", PICTURES, ids=lambda rendering: f"{rendering.format} {rendering.picture_format}")
def test_pictures_keep_the_profile_and_every_pixel(segmenter: Segmenter, rendering: Rendering) -> None:
    picture, plain = (answer(segmenter, file_of(PHOTO, "PNG", icc_profile=each), rendering) for each in (profile_of(), b""))
    assert (picture.info["icc_profile"], plain.info.get("icc_profile")) == (profile_of(), None)
    np.testing.assert_array_equal(picture, plain)


def test_a_photo_that_is_decoded_twice_and_one_that_is_turned_keep_it(segmenter: Segmenter) -> None:
    data = file_of(Image.fromarray(make_photo(700, 900)), "JPEG", icc_profile=profile_of(), exif=exif_of(6))
    picture = answer(segmenter, data, Rendering("overlay"))
    assert (picture.info["icc_profile"], picture.size) == (profile_of(), (700, 900))


@pytest.mark.parametrize("format", ["png", "color", "binary", "grey", "confidence"])
def test_masks_and_colors_alone_have_no_profile(segmenter: Segmenter, format: Any) -> None:
    rendering = Rendering(format, classes=("0",) if format == "binary" else ())
    assert "icc_profile" not in answer(segmenter, file_of(PHOTO, "PNG", icc_profile=profile_of()), rendering).info


@pytest.mark.parametrize(
    ("format", "mode", "profile", "stays"),
    [
        *((format, "RGB", profile_of(), True) for format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")),
        ("PNG", "RGBA", profile_of(), True),
        ("PNG", "P", profile_of(), True),
        ("JPEG", "CMYK", profile_of(space=b"CMYK"), False),
        ("JPEG", "CMYK", profile_of(), False),
        ("PNG", "L", profile_of(space=b"GRAY"), False),
        ("PNG", "L", profile_of(), False),
        ("PNG", "1", profile_of(), False),
        ("PNG", "RGB", profile_of(space=b"Lab "), False),
        ("TIFF", "LAB", profile_of(space=b"Lab "), False),
        *((format, "RGB", profile, len(profile) == PROFILE_BYTES)
          for format in ("JPEG", "TIFF")
          for profile in (
              profile_of(PROFILE_BYTES), profile_of(PROFILE_BYTES + 1), profile_of(3_000_000), profile_of(signature=b"evil"),
              profile_of(length=7), b"\0" * 40, b"x",
          )),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)  # fmt: skip
def test_a_profile_is_kept_if_it_is_whole_bounded_and_that_of_the_pixels(
    format: str, mode: str, profile: bytes, stays: bool
) -> None:
    source = Image.merge("LAB", PHOTO.split()) if mode == "LAB" else PHOTO.convert(mode)
    result = OpenImage(file_of(source, format, icc_profile=profile), Limits()).decode()
    assert result.profile == (profile if stays else None)
