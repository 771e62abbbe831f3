"""Averages the logits of overlapping tiles, one band of rows at a time.

A network's logits have one cell for every `stride` pixels. Regions lie on multiples of 32, so that cells of overlapping
tiles coincide and are averaged as they are; the upsampling to pixels is done once, on the averages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.tiling import Size, TilePlan
from model.upsampling import Grid


class Band(NamedTuple):
    """Finished logits (classes, rows, columns) in float32 of the cells from row `top` on; in memory, classes lie together."""

    top: int
    logits: Tensor


class BandMerger:
    """Takes the tiles' logits in the order of `TilePlan.regions` and gives bands from top to bottom.

    `grid` tells where in its pixels a cell lies, for the weights. Holds one row of tiles: memory grows with
    classes x tile height x width, never with the image's height.
    """

    def __init__(self, plan: TilePlan, grid: Grid) -> None:
        self.plan = plan
        self.grid = grid
        self.stride = 0
        self._next = 0
        self._device = torch.device("cpu")
        self._rows: Tensor | None = None
        self._weights: tuple[list[Tensor], list[Tensor]] = ([], [])

    @property
    def cells(self) -> Size:
        """Rows and columns of cells of the whole extended image; known once the first tile came."""
        plan = self.plan
        return (plan.tops[-1] + plan.tile[0]) // self.stride, (plan.lefts[-1] + plan.tile[1]) // self.stride

    def add(self, logits: Tensor) -> Band | None:
        """Adds the next tile's logits (classes, tile height / stride, tile width / stride).

        Gives a band when the tile's row of tiles is full. Raises `ValueError` for logits of another size and for more
        tiles than the plan has.
        """
        plan = self.plan
        if self._next >= len(plan):
            raise ValueError(f"the plan has {len(plan)} tiles, and all are merged")
        if not self.stride:
            self._begin(logits)
        logits = logits.to(self._device)
        expected = tuple(side // self.stride for side in plan.tile)
        if tuple(logits.shape[1:]) != expected:
            raise ValueError(f"logits must be {expected[0]}x{expected[1]}, got {tuple(logits.shape[1:])}")
        row, column = divmod(self._next, len(plan.lefts))
        self._next += 1
        if len(plan) == 1:
            return Band(0, _together(logits.float()))
        self._accumulate(row, column, logits)
        return self._finish_row(row) if column == len(plan.lefts) - 1 else None

    def _begin(self, logits: Tensor) -> None:
        """Takes the stride and the device from the first tile."""
        (height, width), (rows, columns) = self.plan.tile, logits.shape[1:]
        if not rows or not columns or height % rows or width % columns or height // rows != width // columns:
            raise ValueError(f"logits must be {height}x{width} divided by a stride, got {(rows, columns)}")
        self.stride = height // rows
        self._device = logits.device
        middle = 0 if self.grid == "corner" else self.stride // 2
        self._weights = tuple(  # type: ignore[assignment]
            [torch.from_numpy(w[middle :: self.stride]).to(logits.device) for w in axis]
            for axis in (self.plan.row_weights, self.plan.column_weights)
        )

    def _accumulate(self, row: int, column: int, logits: Tensor) -> None:
        left = self.plan.lefts[column] // self.stride
        height, width = logits.shape[1:]
        if self._rows is None:
            self._rows = torch.zeros(height, self.cells[1], logits.shape[0], device=logits.device).permute(2, 0, 1)
        weights = self._weights[0][row][:, None] * self._weights[1][column]
        self._rows[:, :, left : left + width].addcmul_(logits.float(), weights)

    def _finish_row(self, row: int) -> Band:
        """The rows that no later tile touches; what the next row of tiles still adds to moves to the front."""
        assert self._rows is not None
        tops, height = [top // self.stride for top in self.plan.tops], self._rows.shape[1]
        done = height if row == len(tops) - 1 else tops[row + 1] - tops[row]
        band = Band(tops[row], self._rows[:, :done].clone())
        kept = self._rows[:, done:].clone()
        self._rows[:, : height - done] = kept
        self._rows[:, height - done :] = 0
        return band


def _together(logits: Tensor) -> Tensor:
    """The same logits (classes, rows, columns), the classes of a cell side by side in memory."""
    return logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def merge(plan: TilePlan, tiles: Iterator[Tensor], grid: Grid = "corner") -> Tensor:
    """All averaged logits (classes, rows, columns) of the extended image at once: for small images and for tests."""
    merger = BandMerger(plan, grid)
    bands = [band for tile in tiles if (band := merger.add(tile)) is not None]
    return torch.cat([band.logits for band in bands], 1)
