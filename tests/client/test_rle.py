"""Run lengths, against pycocotools."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from fcn_client.answers import class_map_of_counts, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imaging.runs import column_runs, encode_rle

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.sampled_from([0, 3, 255]))


@settings(max_examples=200, deadline=None)
@given(MAPS)
def test_what_pycocotools_encodes_is_read_back(original: npt.NDArray[np.uint8]) -> None:
    height, width = original.shape
    result = class_map_of_counts(encode_rle(column_runs(original), np.unique(original).tolist()), (height, width))
    np.testing.assert_array_equal(result, original)
    assert result.flags.c_contiguous


def test_long_runs_are_read() -> None:
    original = np.zeros((1000, 3000), np.uint8)
    original[:, 1500:] = 7
    (text,) = encode_rle(column_runs(original), [7]).values()
    assert runs(text).tolist() == [1_500_000, 1_500_000]


def test_runs_that_do_not_fill_the_image_are_told() -> None:
    with pytest.raises(ValueError, match=r"class 7 .*12 .*20"):
        class_map_of_counts(encode_rle(column_runs(np.full((3, 4), 7, np.uint8)), [7]), (4, 5))


@pytest.mark.parametrize("text", ["", "o", "0" * 3 + "o", "o" * 9 + "0", "\x7f", "+"])
def test_what_is_no_encoding_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not a run-length encoding"):
        runs(text)


def test_pixels_of_no_class_are_void_and_of_two_refused() -> None:
    original = np.array([[1, 2, 2], [1, 1, 9]], np.uint8)
    counts = encode_rle(column_runs(original), [1, 2])
    np.testing.assert_array_equal(class_map_of_counts(counts, (2, 3)), [[1, 2, 2], [1, 1, 255]])
    np.testing.assert_array_equal(class_map_of_counts({}, (2, 3)), np.full((2, 3), 255))
    with pytest.raises(ValueError, match="two classes overlap"):
        class_map_of_counts(counts | {"7": counts["1"]}, (2, 3))
    with pytest.raises(ValueError, match="0 to 255, got 256"):
        class_map_of_counts({"256": counts["1"]}, (2, 3))
