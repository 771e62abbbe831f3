"""A segmenter in a line, for notebooks and other servers: the same answers as from plan, decode and infer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.images import encode, make_photo

PHOTO = make_photo(90, 130)


@pytest.fixture(scope="module")
def segmenter(narrow_file: Path) -> Segmenter:
    return Segmenter.from_weights(narrow_file, "cpu", threads=1)


def test_bytes_a_path_and_pixels_have_the_class_map_of_the_steps(segmenter: Segmenter, tmp_path: Path) -> None:
    data = encode(PHOTO)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    plan = segmenter.plan(data, Options())
    expected = segmenter.infer(segmenter.decode(data, plan), plan).class_map
    assert expected.shape == (90, 130)
    for image in (data, path, str(path), PHOTO):
        np.testing.assert_array_equal(segmenter(image).class_map, expected)


def test_a_pillow_image_is_taken_as_it_is(segmenter: Segmenter) -> None:
    expected = segmenter(PHOTO).class_map
    image = Image.fromarray(PHOTO)
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(segmenter(image).class_map, expected)
    clear = Image.fromarray(PHOTO)
    clear.putalpha(0)
    np.testing.assert_array_equal(segmenter(clear).class_map, segmenter(np.full_like(PHOTO, 255)).class_map)
    assert clear.getpixel((0, 0))[3] == 0  # it is not closed


def test_what_is_printed_is_a_line(segmenter: Segmenter) -> None:
    identity = segmenter.identity
    name, precision = identity["name"], identity["precision"]
    assert repr(segmenter) == f"<Segmenter {name}: {len(segmenter.labels)} classes, openvino {precision}>"
    confident = segmenter(PHOTO, Options(rendering=Rendering("confidence")))
    assert repr(confident).startswith("<Segmentation 90x130 (height x width), ")
    assert repr(confident).endswith(" classes, confidence>")


@pytest.mark.parametrize("pixels", [PHOTO[..., 0], PHOTO.astype(np.float32), PHOTO[:0], np.dstack([PHOTO, PHOTO[..., 0]])])
def test_other_arrays_are_refused(segmenter: Segmenter, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        segmenter(pixels)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_pillow_image_without_a_value_for_white_is_refused(segmenter: Segmenter, mode: str) -> None:
    with pytest.raises(ValueError, match=f"mode {mode} does not say which value is white; convert the image to L or RGB"):
        segmenter(Image.fromarray(PHOTO).convert("L").convert(mode))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("side", 3, "one of auto, native or a whole number from"),
        ("side", 64.5, "whole"),
        ("blend", "foo", "one of mean"),
        ("quality", "foo", "one of standard, high"),
        ("overlap", 0.6, "a number from 0 to 0.5"),
        ("min_area", 200, "of the type Area, 0 to 999999999 whole pixels"),
    ],
)
def test_options_that_http_would_refuse_are_refused(segmenter: Segmenter, name: str, value: Any, words: str) -> None:
    for image in (PHOTO, encode(PHOTO)):
        with pytest.raises(ValueError, match=f"{name} must be .*{words}.*, got {value!r}"):
            segmenter(image, Options(**{name: value}))
