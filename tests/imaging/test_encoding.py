"""Class maps and confidence as PNG files that others read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from imaging.encoding import ImageFormat, binary_png, color_picture, grey_png, mask_png, picture_file
from model.labels import numbered_labels, voc_labels
from tests.support.classes import NAMES
from tests.support.images import Pixels, make_photo, open_image

PALETTE = voc_labels().palette
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 255))
IHDR = struct.Struct(">IIBB")


def stripes(height: int = 12, width: int = 17) -> Pixels:
    return (np.arange(height * width, dtype=np.uint32) // 9 % 4).astype(np.uint8).reshape(height, width)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MAPS)
def test_a_mask_is_an_8_bit_palette_png_of_class_ids(class_map: Pixels) -> None:
    data = mask_png(class_map, PALETTE)
    width, height, depth, color_type = IHDR.unpack(data[16:26])
    assert (height, width) == class_map.shape
    assert (depth, color_type) == (8, 3)
    image = open_image(data)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), class_map)


def test_a_mask_holds_all_256_colors_of_its_label_set() -> None:
    labels = numbered_labels(NAMES)
    data = mask_png(stripes(), labels.palette)
    start = data.index(b"PLTE")
    assert struct.unpack(">I", data[start - 4 : start]) == (3 * 256,)
    assert data[start + 4 : start + 4 + 768] == bytes(np.asarray(labels.palette, np.uint8))


def test_a_mask_that_is_a_view_is_written_as_it_looks() -> None:
    class_map = stripes()
    assert np.array_equal(np.asarray(open_image(mask_png(class_map.T[::-1, ::2], PALETTE))), class_map.T[::-1, ::2])


@pytest.mark.parametrize("count", [0, 21, 255, 257])
def test_a_palette_needs_256_colors(count: int) -> None:
    with pytest.raises(ValueError, match=f"got {count}"):
        mask_png(stripes(), [(0, 0, 0)] * count)


@pytest.mark.parametrize(("image_format", "tolerance"), [("png", 0), ("webp", 0), ("jpeg", 90)])
def test_color_shows_the_classes_that_are_wanted(image_format: ImageFormat, tolerance: int) -> None:
    class_map = stripes(120, 170)
    picture = open_image(color_picture(class_map, PALETTE, {1, 3}, image_format))
    expected = np.where(np.isin(class_map, [1, 3])[..., None], np.asarray(PALETTE, np.uint8)[class_map], 0)
    assert (picture.format, picture.mode) == (image_format.upper(), "P" if image_format == "png" else "RGB")
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - expected).max() <= tolerance


def test_binary_is_an_8_bit_grey_png_of_255_where_the_classes_are() -> None:
    data = binary_png(stripes(), {1, 2})
    assert IHDR.unpack(data[16:26]) == (17, 12, 8, 0)
    assert np.array_equal(np.asarray(open_image(data)), np.where(np.isin(stripes(), [1, 2]), 255, 0))


def test_confidence_is_an_8_bit_grey_png() -> None:
    values = make_photo(9, 14)[..., 0]
    data = grey_png(values)
    assert IHDR.unpack(data[16:26]) == (14, 9, 8, 0)
    assert np.array_equal(np.asarray(open_image(data)), values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_is_a_png_in_several_pieces_that_has_every_pixel_and_the_profile(mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (701, 1003, len(mode)), np.uint8)
    data = picture_file(Image.fromarray(noise), "png", profile=b"profile" * 100)
    assert data.count(b"IDAT") > 1
    with open_image(data) as picture:
        assert (picture.mode, picture.info["icc_profile"]) == (mode, b"profile" * 100)
        assert np.array_equal(np.asarray(picture), noise)
