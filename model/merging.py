"""Averages the logits of overlapping tiles, one band of rows at a time.

A network's logits have one cell for every `stride` pixels. Regions lie on multiples of 32, so that cells of overlapping
tiles coincide and are averaged as they are; the upsampling to pixels is done once, on the averages (see `model.zones`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.tiling import TilePlan
from model.tracing import recorded
from model.upsampling import Grid
from model.zones import Zones


class Band(NamedTuple):
    """Finished logits (classes, rows, columns) in float32 of the cells from row `top` on; in memory, classes lie together.

    Rows and columns are counted with the cells that zones keep twice.
    """

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

    @property
    def nbytes(self) -> int:
        """Bytes of the maps that are held between two tiles; a band that was given is its taker's."""
        return sum(value.untyped_storage().nbytes() for value in vars(self).values() if isinstance(value, Tensor))

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
        if tuple(logits.shape[1:]) != self._tile:
            raise ValueError(f"logits must be {self._tile[0]}x{self._tile[1]}, got {tuple(logits.shape[1:])}")
        row, column = divmod(self._next, len(plan.lefts))
        self._next += 1
        if len(plan) == 1:  # nothing to average: what is left is to lay the classes of a cell side by side
            return Band(0, (_graph() if logits.device.type == "cpu" else _side_by_side)(logits))
        self._accumulate(row, column, logits)
        return self._finish_row(row) if column == len(plan.lefts) - 1 else None

    def _begin(self, logits: Tensor) -> None:
        """Takes the stride, the device and the number of classes from the first tile."""
        (height, width), (rows, columns) = self.plan.tile, logits.shape[1:]
        if not rows or not columns or height % rows or width % columns or height // rows != width // columns:
            raise ValueError(f"logits must be {height}x{width} divided by a stride, got {(rows, columns)}")
        self.stride = height // rows
        self._tile = rows, columns
        self.tops, self.lefts = (tuple(o // self.stride for o in axis) for axis in (self.plan.tops, self.plan.lefts))
        self.vertical, self.horizontal = Zones.of(self.tops, rows), Zones.of(self.lefts, columns)
        if len(self.plan) == 1:
            return
        self._row_weights = self._weights(self.plan.row_weights, self.vertical, self.tops, logits.device)
        self._column_weights = self._weights(self.plan.column_weights, self.horizontal, self.lefts, logits.device)
        self._rows = torch.zeros(self._most_rows(), self.horizontal.length, len(logits), device=logits.device).permute(2, 0, 1)

    def _weights(
        self, pixels: Sequence[npt.NDArray[np.float32]], zones: Zones, origins: Sequence[int], device: torch.device
    ) -> list[Tensor]:
        """Each tile's weights along an axis, for its cells."""
        middle, constant = 0 if self.grid == "corner" else self.stride // 2, self.plan.blend == "mean"
        cells = [torch.from_numpy(weights[middle :: self.stride]) for weights in pixels]
        return [zones.spread(w, o, constant=constant).to(device) for w, o in zip(cells, origins, strict=True)]

    def _most_rows(self) -> int:
        """The most rows of cells, with those kept twice, that a tile has."""
        places = [self.vertical.place(top, self._tile[0]) for top in self.tops]
        return int(max(place.stop - place.start for place in places))

    def _accumulate(self, row: int, column: int, logits: Tensor) -> None:
        top, left, (height, width) = self.tops[row], self.lefts[column], self._tile
        padded = _enlarged(logits.to(self._rows.device))
        for dim, picks in ((1, self.vertical.picks(top, height)), (2, self.horizontal.picks(left, width))):
            if picks != list(range(padded.shape[dim])):
                padded = padded.index_select(dim, torch.tensor(picks, device=padded.device))
        weights = self._row_weights[row][:, None] * self._column_weights[column]
        self._rows[:, : padded.shape[1], self.horizontal.place(left, width)].addcmul_(padded, weights)

    def _finish_row(self, row: int) -> Band:
        """The rows that no later tile touches; what the next row of tiles still adds to moves to the front."""
        top = self.vertical.kept(self.tops[row])
        last = row == len(self.tops) - 1
        done = (self.vertical.length if last else self.vertical.kept(self.tops[row + 1])) - top
        band = Band(top, self._rows[:, :done].clone())
        kept = self._rows[:, done:].clone()
        self._rows[:, : kept.shape[1]] = kept
        self._rows[:, kept.shape[1] :] = 0
        return band


@cache
def _graph() -> Callable[[Tensor], Tensor]:
    """`_side_by_side`, recorded."""
    return recorded(_side_by_side, torch.rand(2, 3, 3))


def _side_by_side(logits: Tensor) -> Tensor:
    """A tile's logits, enlarged; in memory, classes lie together."""
    return _enlarged(logits).permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _enlarged(logits: Tensor) -> Tensor:
    """A tile's logits in float32 with one more cell at either end, which repeats the last."""
    return F.pad(logits[None].float(), (1, 1, 1, 1), mode="replicate")[0]


def merge(plan: TilePlan, tiles: Iterator[Tensor], grid: Grid = "corner") -> Tensor:
    """All averaged logits (classes, rows, columns) of the extended image at once: for small images and for tests."""
    merger = BandMerger(plan, grid)
    bands = [band for tile in tiles if (band := merger.add(tile)) is not None]
    whole = torch.cat([band.logits for band in bands], 1)
    for dim, zones in ((1, merger.vertical), (2, merger.horizontal)):
        own = [cell + 2 * zones.zone(cell) + 1 for cell in range(zones.edges[-1])]
        whole = whole.index_select(dim, torch.tensor(own))
    return whole
