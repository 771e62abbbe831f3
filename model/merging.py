"""Averages the logits of overlapping tiles, one band of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.tiling import TilePlan


class Band(NamedTuple):
    """Finished logits (classes, rows, width) in float32 of the rows from `top` on."""

    top: int
    logits: Tensor


class BandMerger:
    """Takes the tiles' logits in the order of `TilePlan.regions` and gives bands from top to bottom.

    Holds one row of tiles: memory grows with classes x tile height x width, never with the image's height.
    """

    def __init__(self, plan: TilePlan) -> None:
        self.plan = plan
        self._next = 0
        self._rows: Tensor | None = None
        self._row_weights = [torch.from_numpy(w) for w in plan.row_weights]
        self._column_weights = [torch.from_numpy(w) for w in plan.column_weights]

    def add(self, logits: Tensor) -> Band | None:
        """Adds the next tile's logits (classes, tile height, tile width); gives a band when its row of tiles is full.

        Raises `ValueError` for logits of another size and for more tiles than the plan has.
        """
        plan = self.plan
        if self._next >= len(plan):
            raise ValueError(f"the plan has {len(plan)} tiles, and all are merged")
        if tuple(logits.shape[1:]) != plan.tile:
            raise ValueError(f"logits must be {plan.tile[0]}x{plan.tile[1]}, got {tuple(logits.shape[1:])}")
        row, column = divmod(self._next, len(plan.lefts))
        self._next += 1
        if len(plan) == 1:
            return self._crop(0, logits.float())
        self._accumulate(row, column, logits)
        return self._finish_row(row) if column == len(plan.lefts) - 1 else None

    def _accumulate(self, row: int, column: int, logits: Tensor) -> None:
        (height, width), left = self.plan.tile, self.plan.lefts[column]
        if self._rows is None:
            self._rows = torch.zeros(logits.shape[0], height, self.plan.lefts[-1] + width)
        weights = self._row_weights[row][:, None] * self._column_weights[column]
        self._rows[:, :, left : left + width].addcmul_(logits.float(), weights)

    def _finish_row(self, row: int) -> Band:
        """The rows that no later tile touches; what the next row of tiles still adds to moves to the front."""
        assert self._rows is not None
        tops, height = self.plan.tops, self.plan.tile[0]
        done = height if row == len(tops) - 1 else tops[row + 1] - tops[row]
        band = self._crop(tops[row], self._rows[:, :done].clone())
        kept = self._rows[:, done:].clone()
        self._rows[:, : height - done] = kept
        self._rows[:, height - done :] = 0
        return band

    def _crop(self, top: int, logits: Tensor) -> Band:
        height, width = self.plan.size
        return Band(top, logits[:, : height - top, :width])


def merge(plan: TilePlan, tiles: Iterator[Tensor]) -> Tensor:
    """All logits (classes, H, W) at once, of tiles in the plan's order: for small images and for tests."""
    merger = BandMerger(plan)
    bands = [band for tile in tiles if (band := merger.add(tile)) is not None]
    return torch.cat([band.logits for band in bands], 1)
