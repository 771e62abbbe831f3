"""The errors of edges, on masks whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.studies.cutout import BANDS, errors, near_border, sheet

INSIDE = np.zeros((40, 60), bool)
INSIDE[:, 30:] = True
LABELLED = np.ones_like(INSIDE)


def test_a_band_lies_on_both_sides_of_the_labels_border_and_leaves_out_void() -> None:
    assert np.array_equal(np.flatnonzero(near_border(INSIDE, LABELLED, 4)[0]), range(26, 34))
    labelled = LABELLED.copy()
    labelled[:, 28:32] = False
    assert np.array_equal(np.flatnonzero(near_border(INSIDE & labelled, labelled, 4)[0]), [24, 25, 26, 27, 32, 33, 34, 35])
    assert not near_border(np.zeros_like(INSIDE), LABELLED, 4).any()


def test_errors_are_means_over_the_pixels_of_the_bands() -> None:
    shifted = np.roll(INSIDE, 1, 1).astype(np.float64)
    result = errors(iter([(INSIDE, LABELLED, {"exact": INSIDE * 1.0, "grey": np.full(INSIDE.shape, 0.4), "shifted": shifted})]))
    assert result["exact"] == {"absolute": [0] * 3, "squared": [0] * 3, "wrong": [0] * 3}
    assert result["grey"]["absolute"] == pytest.approx([0.5] * 3)
    assert result["grey"]["squared"] == pytest.approx([0.26] * 3)
    assert result["grey"]["wrong"] == pytest.approx([0.5] * 3)
    assert result["shifted"]["wrong"] == pytest.approx([1 / (2 * reach) for reach in BANDS], abs=1e-4)


def test_a_sheet_holds_every_picture() -> None:
    pictures = [Image.new("RGB", (760, height), (height, 0, 0)) for height in (100, 120, 90)]
    result = np.asarray(sheet(pictures))
    assert result.shape == (120 + 10 + 90, 1530, 3)
    assert {100, 120, 90} <= set(np.unique(result[..., 0]).tolist())
