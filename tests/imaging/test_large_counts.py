"""Runs, areas and counts of more than 2^31 pixels."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from imaging.answer import class_statistics
from imaging.errors import AnswerTooLarge
from imaging.regions import Regions
from imaging.runs import ColumnRuns, column_runs, encode_rle
from model.metrics import ConfusionMatrix

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


def test_scores_of_more_pixels_than_32_bits_are_exact() -> None:
    matrix = ConfusionMatrix(2)
    large = (1 << 33) + 1
    matrix.counts += np.array([[large, 0], [large, 2 * large]])
    matrix.update(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    assert matrix.counts.tolist() == [[large + 6, 0], [large, 2 * large]]
    assert matrix.iou.tolist() == pytest.approx([(large + 6) / (2 * large + 6), 2 / 3], rel=1e-12)
    assert matrix.pixel_accuracy == pytest.approx((3 * large + 6) / (4 * large + 6), rel=1e-12)
