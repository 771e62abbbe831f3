"""Run-length encodings that pycocotools reads back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from imaging.rle import encode_rle

Pixels = npt.NDArray[np.uint8]
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 255), fill=st.integers(0, 3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MAPS)
def test_pycocotools_decodes_every_class(class_map: Pixels) -> None:
    counts = encode_rle(class_map, np.unique(class_map).tolist())
    assert list(counts) == [str(i) for i in np.unique(class_map)]
    for name, text in counts.items():
        decoded = coco.decode({"size": list(class_map.shape), "counts": text})
        assert np.array_equal(decoded == 1, class_map == int(name))


def test_a_class_that_is_absent_decodes_to_nothing() -> None:
    counts = encode_rle(np.zeros((3, 5), np.uint8), [7])
    assert not coco.decode({"size": [3, 5], "counts": counts["7"]}).any()


def test_the_known_encoding_of_a_small_map() -> None:
    class_map = np.array([[0, 1], [0, 1]], np.uint8)
    assert encode_rle(class_map, [0, 1]) == {"0": "022", "1": "22"}
