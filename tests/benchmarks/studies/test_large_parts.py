"""Which part of a cut-out is shown, and that a picture holds every row."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.studies.large_parts import softest, stack


def test_a_picture_holds_every_row() -> None:
    rows = [Image.new("RGB", (30, height), (height, 0, 0)) for height in (100, 120, 90)]
    result = np.asarray(stack(rows))
    assert result.shape == (100 + 6 + 120 + 6 + 90, 30, 3)
    assert {100, 120, 90} <= set(np.unique(result[..., 0]).tolist())


def test_the_softest_part_has_most_soft_pixels() -> None:
    opacity = np.zeros((300, 400), np.uint8)
    opacity[150:200, 250:300] = 100
    left, top, right, bottom = softest(opacity)
    assert (right - left, bottom - top) == (150, 110)
    assert (opacity[top:bottom, left:right] == 100).sum() == 2500
    assert softest(opacity[:20, :30]) == (0, 0, 30, 20)
