"""Several views of one image, at several sizes and mirrored, and the average of what the network says of each.

What is known as testing at several scales with left-right flips (Chen et al. 2017, "Rethinking Atrous Convolution for
Semantic Image Segmentation", section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.decoding import scale
from model.architecture import Grid
from model.inference.merging import Band, Logits
from model.inference.tiling import Size, TilePlan
from model.inference.upsampling import Axis, cells_at, interpolated

Pixels = npt.NDArray[np.uint8]
Quality = Literal["standard", "high"]
SCALES: dict[Quality, tuple[float, ...]] = {"standard": (1.0,), "high": (1.25, 1.0, 0.75)}
"""Of the working size, the largest first: the image is decoded at it."""
ROWS = 64  # that are interpolated at once
LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class View:
    """The tiles of one pass over an image, which is scaled to their size and perhaps mirrored left to right."""

    tiles: TilePlan
    mirrored: bool = False

    def of(self, image: Pixels) -> Pixels:
        """The RGB image (H, W, 3) as this view shows it."""
        scaled = scale(image, self.tiles.size)
        return np.ascontiguousarray(scaled[:, ::-1]) if self.mirrored else scaled


def plan_views(size: Size, quality: Quality, plan: Callable[[Size], TilePlan]) -> tuple[View, ...]:
    """The views of an image at this working size, the largest first; `plan` lays tiles over an image of a size."""
    found = []
    for factor in SCALES[quality]:
        tiles = plan((max(1, round(size[0] * factor)), max(1, round(size[1] * factor))))
        found += [View(tiles, mirrored) for mirrored in ((False, True) if quality == "high" else (False,))]
    return tuple(found)


class ViewAverage:
    """Averages the views' class probabilities where the first view has its cells.

    Probabilities are the softmax of logits / temperature. Holds maps of the whole image, a cell for every stride x stride
    pixels. For one thread.
    """

    def __init__(self, target: TilePlan, stride: int, grid: Grid, temperature: float) -> None:
        self._target, self._stride, self._grid, self._temperature = target, stride, grid, temperature
        self._sum: Logits | None = None
        self._views = 0

    def add(self, view: View, bands: Iterable[Band]) -> None:
        """Adds a view by all the bands of its merged logits."""
        found = np.concatenate([band.logits for band in bands])
        found -= found.max(2, keepdims=True)
        found *= np.float32(1 / self._temperature)
        np.exp(found, out=found)
        found /= found.sum(2, keepdims=True)
        vertical, horizontal = self._axis(0, view), self._axis(1, view)
        if self._sum is None:
            self._sum = np.zeros((len(vertical.before), len(horizontal.before), found.shape[2]), np.float32)
        for start in range(0, len(self._sum), ROWS):
            rows = slice(start, start + ROWS)
            self._sum[rows] += interpolated(interpolated(found, vertical.cut(rows), 0), horizontal, 1)
        self._views += 1

    def finish(self) -> Band:
        """Logits whose softmax, divided by the temperature, is the mean of the probabilities; ends the average."""
        assert self._sum is not None
        logits, self._sum = self._sum, None
        logits /= self._views
        np.log(np.maximum(logits, LEAST_PROBABILITY, out=logits), out=logits)
        logits *= np.float32(self._temperature)
        return Band(0, logits)

    def _axis(self, axis: int, view: View) -> Axis:
        """Where the first view's cells lie among those of this one."""
        target, source, stride = self._target.size[axis], view.tiles.size[axis], self._stride
        centre = 0 if self._grid == "corner" else (stride - 1) / 2
        pixels = np.arange(self._target.cells(stride)[axis]) * stride + centre
        pixels = ((pixels + 0.5) * (source / target) - 0.5).clip(0, source - 1)
        if view.mirrored and axis == 1:
            pixels = source - 1 - pixels
        return cells_at(pixels, view.tiles.cells(stride)[axis], stride, self._grid)


def average_bytes(target: TilePlan, classes: int, stride: int) -> int:
    """At most so many bytes does an average of views that are no larger than the first one take, their images included."""
    rows, columns = target.cells(stride)
    image: Size = target.size
    return 4 * classes * columns * (4 * rows + 4 * ROWS) + 14 * image[0] * image[1]
