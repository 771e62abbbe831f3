"""Run lengths that pycocotools reads back, also of more than 2^31 pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from imaging.answer import class_statistics
from imaging.errors import AnswerTooLarge
from imaging.regions import Regions
from imaging.runs import ColumnRuns, column_runs, encode_rle
from tests.support.images import Pixels

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 255), fill=st.integers(0, 3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MAPS)
def test_pycocotools_decodes_every_class(class_map: Pixels) -> None:
    counts = encode_rle(column_runs(class_map), np.unique(class_map).tolist())
    assert list(counts) == [str(i) for i in np.unique(class_map)]
    for name, text in counts.items():
        mask = coco.decode({"size": list(class_map.shape), "counts": text})
        assert np.array_equal(mask == 1, class_map == int(name))


def test_the_known_encoding_of_a_small_map() -> None:
    class_map = np.array([[0, 1], [0, 1]], np.uint8)
    assert encode_rle(column_runs(class_map), [0, 1]) == {"0": "022", "1": "22"}


HEIGHT, WIDTH = 50_000, 43_000  # 2.15e9 pixels
ROWS = 49_990  # of class 1; the others are of class 0


def two_classes() -> ColumnRuns:
    column = np.repeat(np.array([1, 0], np.uint8), [ROWS, HEIGHT - ROWS])
    return column_runs(np.broadcast_to(column[:, None], (HEIGHT, WIDTH)))


@pytest.mark.long
def test_runs_areas_and_boxes_of_a_class_beyond_32_bits() -> None:
    runs = two_classes()
    assert runs.starts.dtype == np.int64
    assert int(runs.ends[-1]) == HEIGHT * WIDTH > 1 << 31
    first, second = class_statistics(runs)
    assert (first.id, first.pixels, first.bbox) == (1, ROWS * WIDTH, (0, 0, WIDTH, ROWS))
    assert first.pixels > 1 << 31
    assert (second.id, second.pixels) == (0, (HEIGHT - ROWS) * WIDTH)
    regions = Regions(runs, [0, 1])
    assert dict(zip(regions.ids, regions.pixels.tolist(), strict=True)) == {0: second.pixels, 1: first.pixels}
    counts = encode_rle(runs, [1])["1"]
    rle = {"size": [HEIGHT, WIDTH], "counts": counts}
    assert int(coco.area(rle)) == first.pixels
    assert coco.toBbox(rle).tolist() == list(first.bbox)


def test_one_run_beyond_32_bits_with_a_sign_is_exact() -> None:
    """A column of 2^31 pixels and more cannot be an image; the arithmetic must still be right."""
    height = (1 << 31) + 7
    runs = ColumnRuns(height, 1, np.array([0, 5], np.int64), np.array([0, 1], np.uint8))
    assert [(entry.id, entry.pixels) for entry in class_statistics(runs)] == [(1, height - 5), (0, 5)]
    rle = {"size": [height, 1], "counts": encode_rle(runs, [1])["1"]}
    assert int(coco.area(rle)) == height - 5


def test_run_lengths_that_pycocotools_cannot_hold_are_refused() -> None:
    height = 1 << 32
    runs = ColumnRuns(height, 1, np.array([0], np.int64), np.array([1], np.uint8))
    with pytest.raises(AnswerTooLarge, match=r"hold 4294967295 pixels, the image has 4294967296; cut it"):
        encode_rle(runs, [1])
