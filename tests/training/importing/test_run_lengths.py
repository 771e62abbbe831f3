"""Run lengths of labelling tools, compressed or plain, are painted as pycocotools decodes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imaging.runs import column_runs, encode_rle
from training.importing.run_lengths import paint_runs, read_counts


def painted(counts: str | list[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    paint_runs(mask, read_counts(counts, shape), True)
    return mask


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 48), (600, 500)])
def test_compressed_and_plain_counts_are_decoded_as_pycocotools_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    for share in (0.0, 0.01, 0.5, 1.0):
        inside = rng.random(shape) < share
        text = encode_rle(column_runs(inside.astype(np.uint8)), [1])["1"]
        np.testing.assert_array_equal(painted(text, shape), inside)
        flat = np.r_[False, inside.ravel(order="F")]
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff([0, *edges.tolist(), inside.size]).tolist()
        np.testing.assert_array_equal(painted(counts, shape), inside)


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
