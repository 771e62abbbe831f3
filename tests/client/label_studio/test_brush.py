"""Masks as brush labels; `test_label_studio.py` has them decoded by Label Studio's own code."""

from __future__ import annotations

import numpy as np
import pytest
from fcn_client.label_studio.predicting import encode_brush
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.client.label_studio import decode_brush


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_a_mask_is_the_same_once_decoded(height: int, width: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    top, left = int(random.integers(0, 5)), int(random.integers(0, 5))
    size = (top + height + int(random.integers(0, 5)), left + width + int(random.integers(0, 5)))
    part = random.random((height, width)) < share
    whole = np.zeros(size, bool)
    whole[top : top + height, left : left + width] = part
    np.testing.assert_array_equal(decode_brush(encode_brush(part, left=left, top=top, size=size), size), whole)


@pytest.mark.parametrize("inside", [True, False])
def test_runs_that_are_longer_than_their_largest_size(inside: bool) -> None:
    size = (300, 301)
    mask = np.full(size, inside)
    rle = encode_brush(mask, left=0, top=0, size=size)
    assert len(rle) < 40
    np.testing.assert_array_equal(decode_brush(rle, size), mask)
