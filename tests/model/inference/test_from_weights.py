"""A segmenter in a line, for notebooks and other servers: the same answers as from plan, decode and infer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.errors import DamagedImage
from imaging.rendering import Rendering
from model.inference.segmenter import Options, Segmenter
from model.manifest import WeightsError
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


def test_options_say_what_is_computed(segmenter: Segmenter) -> None:
    assert segmenter(PHOTO).confidence is None
    confident = segmenter(PHOTO, Options(rendering=Rendering("confidence")))
    assert confident.confidence is not None
    assert confident.confidence.shape == (90, 130)


@pytest.mark.parametrize("pixels", [PHOTO[..., 0], PHOTO.astype(np.float32), PHOTO[:0], np.dstack([PHOTO, PHOTO[..., 0]])])
def test_other_arrays_are_refused(segmenter: Segmenter, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        segmenter(pixels)


def test_what_is_no_image_and_no_weights_file_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(DamagedImage):
        segmenter(encode(PHOTO)[:100])
    with pytest.raises(WeightsError):
        Segmenter.from_weights(tmp_path / "none.safetensors")
