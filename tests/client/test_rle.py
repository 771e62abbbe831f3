"""Run lengths, against pycocotools."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from fcn_client.rle import class_map, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imaging.rle import encode_rle

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.sampled_from([0, 3, 255]))


@settings(max_examples=200, deadline=None)
@given(MAPS)
def test_what_pycocotools_encodes_is_read_back(made: npt.NDArray[np.uint8]) -> None:
    height, width = made.shape
    found = class_map(encode_rle(made, np.unique(made).tolist()), (height, width))
    np.testing.assert_array_equal(found, made)
    assert found.flags.c_contiguous


def test_long_runs_are_read() -> None:
    made = np.zeros((1000, 3000), np.uint8)
    made[:, 1500:] = 7
    (text,) = encode_rle(made, [7]).values()
    assert runs(text) == [1_500_000, 1_500_000]


def test_runs_that_do_not_fill_the_image_are_told() -> None:
    with pytest.raises(ValueError, match="runs of class 7 cover 12 pixels, the image has 20"):
        class_map(encode_rle(np.full((3, 4), 7, np.uint8), [7]), (4, 5))
