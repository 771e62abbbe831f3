"""Run lengths of labelling tools, compressed or plain, are painted as pycocotools decodes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from imaging.runs import column_runs, encode_rle
from training.importing.run_lengths import paint_runs, read_counts


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 48), (600, 500)])
def test_compressed_and_plain_counts_are_decoded_as_pycocotools_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.01, 0.5, 1.0):
        inside = rng.random(shape) < share
        text = encode_rle(column_runs(inside.astype(np.uint8)), [1])["1"]
        flat = np.r_[False, inside.ravel(order="F")]
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff([0, *edges.tolist(), inside.size]).tolist()
        for lengths in (text, counts):
            mask = np.zeros(shape, np.uint8)
            paint_runs(mask, read_counts(lengths, shape), 1)
            np.testing.assert_array_equal(mask == 1, inside)


@pytest.mark.parametrize("counts", [[2, 3, 7], [0, 12], [12], [0, 1, 10, 1], [5, 0, 2, 1, 4], [11, 1], [0, 0, 12]], ids=str)
def test_runs_are_painted_within_their_columns_alone(counts: list[int]) -> None:
    mask = np.full((3, 4), 9, np.uint8)
    paint_runs(mask, read_counts(counts, (3, 4)), 5)
    assert np.array_equal(mask == 5, np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(4, 3).T)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, 2], "run lengths cover 5 pixels, the image has 3x4 = 12"),
        ([14, -4, 2], "a run length is 0 or more, got -4"),
        ([3.5, 8.5], "whole numbers"),
        ([True, 11], "whole numbers"),
        ([10**30, 12 - 10**30], "far longer than an image"),
        ("", "not a run-length encoding"),
        ("3o", "not a run-length encoding"),
        ("oooooooo5", "not a run-length encoding"),
    ],
    ids=str,
)
def test_counts_that_are_no_run_lengths_of_the_image_are_refused(counts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_counts(counts, (3, 4))
