"""Linear interpolation of cells to pixels, by its definition."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats
from model.architecture import Grid
from model.inference.merging import Logits


def interpolate(logits: Logits, stride: int, grid: Grid, source: tuple[int, int], target: tuple[int, int]) -> Logits:
    """By definition: pixels of both images share their outer edges, and cells lie on their own pixels of the source."""

    def matrix(axis: int) -> Floats:
        places = ((np.arange(target[axis]) + 0.5) * source[axis] / target[axis] - 0.5).clip(0, source[axis] - 1)
        cells = logits.shape[axis - 2]
        centres = stride * np.arange(cells) + (0 if grid == "corner" else (stride - 1) / 2)
        return np.stack([np.interp(places, centres, row) for row in np.eye(cells)], 1)

    return np.asarray(matrix(0) @ logits.astype(np.float64) @ matrix(1).T, np.float32)
