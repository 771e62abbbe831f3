"""Averages the logits of overlapping tiles, one band of rows at a time.

Regions lie on multiples of 32, and logits have a cell for every `stride` pixels. So the cells of overlapping tiles coincide and
are averaged directly. `model.inference.upsampling` then interpolates the averages to pixels, once.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.architecture import Grid
from model.inference.tiling import UNIT, TilePlan, axis_weights

Logits = npt.NDArray[np.float32]
JOINED_BYTES = 4 << 20  # of a band that consists of several strips: larger ones only take memory, smaller ones take time


def finite(logits: Logits) -> Logits | FloatingPointError:
    """The tile's logits, or an error where some are NaN or infinite."""
    if np.isfinite(logits).all():
        return logits
    return FloatingPointError("the network gave logits that are NaN or infinite for a tile; expected finite numbers")


class Band(NamedTuple):
    """Finished logits, float32 (rows, columns, classes): full rows of cells, from row `top` on."""

    top: int
    logits: Logits


class BandMerger:
    """Takes the tiles' logits in the order of `TilePlan.tiles` and gives bands from top to bottom. For one thread.

    grid: where in its pixels a cell lies; it selects the weights. Holds one row of tiles, so its memory grows with
    classes x tile height x width, and does not depend on the image's height. It holds them as strips of `UNIT` pixels' height,
    since regions begin and end there. Strips become bands of at most `JOINED_BYTES`, or of one strip.
    first_row: the row of tiles to begin with. Cells that the row before also covers are then incomplete.
    """

    def __init__(self, plan: TilePlan, grid: Grid, first_row: int = 0) -> None:
        self.plan = plan
        self.grid = grid
        self.stride = 0
        self._next = first_row * len(plan.lefts)
        self._strips = deque[Logits]()

    def add(self, logits: Logits) -> list[Band]:
        """Adds the next tile's float32 logits (classes, tile height / stride, tile width / stride).

        Returns the finished bands after the last tile of a row of tiles, else none. Raises `ValueError` for logits of another
        size and for more tiles than the plan has.
        """
        plan = self.plan
        if self._next >= len(plan):
            raise ValueError(f"the plan has {len(plan)} tiles, and all are merged")
        if not self.stride:
            self._begin(logits)
        if logits.shape[1:] != self._tile:
            raise ValueError(f"logits must be {self._tile[0]}x{self._tile[1]}, got {logits.shape[1:]}")
        row, column = divmod(self._next, len(plan.lefts))
        self._next += 1
        cells = logits.transpose(1, 2, 0)
        if len(plan) == 1:
            return [Band(0, np.ascontiguousarray(cells))]
        left, height = self._lefts[column], self._strip_rows
        while len(self._strips) * height < self._tile[0]:
            self._strips.append(np.zeros((height, self._lefts[-1] + self._tile[1], len(logits)), np.float32))
        weights = self._row_weights[row][:, None, None] * self._column_weights[column][:, None]
        products = cells * weights
        for top, strip in zip(range(0, self._tile[0], height), self._strips, strict=True):
            strip[:, left : left + self._tile[1]] += products[top : top + height]
        return self._finish_row(row) if column == len(plan.lefts) - 1 else []

    def _begin(self, logits: Logits) -> None:
        """Takes the stride from the first tile."""
        plan, (height, width), (rows, columns) = self.plan, self.plan.tile, logits.shape[1:]
        if not rows or not columns or height % rows or width % columns or height // rows != width // columns:
            raise ValueError(f"logits must be {height}x{width} divided by a stride, got {(rows, columns)}")
        self.stride = stride = height // rows
        self._tile, self._strip_rows = (rows, columns), max(1, UNIT // stride)
        self._tops, self._lefts = ([origin // stride for origin in axis] for axis in (plan.tops, plan.lefts))
        if len(plan) == 1:
            return
        middle = 0 if self.grid == "corner" else stride // 2
        self._row_weights = [weights[middle::stride] for weights in axis_weights(plan.tops, height, plan.blend)]
        self._column_weights = [weights[middle::stride] for weights in axis_weights(plan.lefts, width, plan.blend)]

    def _finish_row(self, row: int) -> list[Band]:
        """The strips that no later tile overlaps, joined to bands."""
        top, last = self._tops[row], row == len(self._tops) - 1
        count = len(self._strips) if last else (self._tops[row + 1] - top) // self._strip_rows
        strips_a_band, bands = max(1, JOINED_BYTES // self._strips[0].nbytes), list[Band]()
        for first in range(0, count, strips_a_band):
            strips = [self._strips.popleft() for _ in range(min(strips_a_band, count - first))]
            bands.append(Band(top + first * self._strip_rows, strips[0] if len(strips) == 1 else np.concatenate(strips)))
        return bands
