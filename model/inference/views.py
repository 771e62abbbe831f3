"""Several views of one image, at several sizes and mirrored, and the average of the network's predictions for them.

This is multi-scale testing with left-right flips (Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image
Segmentation", section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.arrays import Pixels, Size
from imaging.decoding import scale
from model.architecture import Grid, first_centre
from model.inference.merging import Band, Logits
from model.inference.probabilities import to_probabilities
from model.inference.tiling import TilePlan
from model.inference.upsampling import Axis, cells_at, interpolate, scaled

Quality = Literal["standard", "high"]
SCALES: dict[Quality, tuple[float, ...]] = {"standard": (1.0,), "high": (1.25, 1.0, 0.75)}
"""Factors of the working size, the largest first. The image is decoded at the largest size."""
ROWS = 64  # rows that are interpolated in one step
LEAST_PROBABILITY = 1e-7  # lower bound of the mean probabilities, whose logarithm must be finite


@dataclass(frozen=True)
class View:
    """One pass over an image: the image is scaled to the tiles' size and, if `is_mirrored`, flipped left to right."""

    tile_plan: TilePlan
    is_mirrored: bool = False

    def of(self, image: Pixels) -> Pixels:
        """The image (H, W, bands), scaled and flipped for this view."""
        pixels = scale(image, self.tile_plan.size)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.is_mirrored else pixels


def plan_views(size: Size, quality: Quality, plan: Callable[[Size], TilePlan]) -> tuple[View, ...]:
    """The views of an image at this working size, the largest first. `plan` gives the tiles for an image of a size."""
    views = []
    for factor in SCALES[quality]:
        tiles = plan((max(1, round(size[0] * factor)), max(1, round(size[1] * factor))))
        views += [View(tiles, is_mirrored) for is_mirrored in ((False, True) if quality == "high" else (False,))]
    return tuple(views)


class ViewAverage:
    """Averages the views' class probabilities at the cells of the first view. For one thread.

    Probabilities are the softmax of logits / temperature. Holds maps of the whole image, with one cell for every
    stride x stride pixels.
    """

    def __init__(self, target: TilePlan, stride: int, grid: Grid, temperature: float) -> None:
        self._target, self._stride, self._grid, self._temperature = target, stride, grid, temperature
        self._sum: Logits | None = None
        self._views = 0

    def add(self, view: View, bands: Iterable[Band]) -> None:
        """Adds a view. bands: all bands of its merged logits."""
        probabilities = to_probabilities(np.concatenate([band.logits for band in bands]), self._temperature)
        vertical, horizontal = self._axis(0, view), self._axis(1, view)
        if self._sum is None:
            self._sum = np.zeros((len(vertical.before), len(horizontal.before), probabilities.shape[2]), np.float32)
        for start in range(0, len(self._sum), ROWS):
            rows = slice(start, start + ROWS)
            self._sum[rows] += interpolate(interpolate(probabilities, vertical.cut(rows), 0), horizontal, 1)
        self._views += 1

    def finish(self) -> Band:
        """The average as logits: the softmax of logits / temperature is the mean of the probabilities. Call it once, last."""
        assert self._sum is not None
        logits, self._sum = self._sum, None
        logits /= self._views
        np.log(np.maximum(logits, LEAST_PROBABILITY, out=logits), out=logits)
        logits *= np.float32(self._temperature)
        return Band(0, logits)

    def _axis(self, axis: int, view: View) -> Axis:
        """Where the first view's cells lie among the cells of `view`."""
        target, source, stride = self._target.size[axis], view.tile_plan.size[axis], self._stride
        pixels = np.arange(self._target.cells(stride)[axis]) * stride + first_centre(stride, self._grid)
        pixels = scaled(pixels, target, source)
        if view.is_mirrored and axis == 1:
            pixels = source - 1 - pixels
        return cells_at(pixels, view.tile_plan.cells(stride)[axis], stride, self._grid)


def average_bytes(target: TilePlan, classes: int, stride: int) -> int:
    """Upper bound, in bytes, of the memory that averaging views and their images take. No view is larger than the first."""
    rows, columns = target.cells(stride)
    image: Size = target.size
    return 4 * classes * columns * (4 * rows + 4 * ROWS) + 14 * image[0] * image[1]
