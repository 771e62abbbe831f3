"""The class of each pixel, from cells that it lies between: each pixel is only computed where its cells do not agree.

In graphs, as the network is on a CPU: many small steps, each of which would wait for the interpreter among threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.tracing import recorded

PLACES = 1 << 17  # pixels whose logits are held at once


class Axis(NamedTuple):
    """For each pixel along an axis, the cells before and after it, and how far it lies between them (0 to 1)."""

    before: Tensor
    after: Tensor
    fraction: Tensor

    def cut(self, pixels: slice, first: int = 0) -> Axis:
        """These pixels, their cells counted from `first` on."""
        if not first and pixels == slice(0, len(self.before)):
            return self
        return Axis(self.before[pixels] - first, self.after[pixels] - first, self.fraction[pixels])


def highest(cells: Tensor, vertical: Axis, horizontal: Axis) -> Tensor:
    """The uint8 class ids (rows, width) of the highest logits, interpolated bilinearly between cells (rows, columns,
    classes) on a CPU; of equals, the lowest id."""
    nearest, settle = _graphs()
    found, mixed = nearest(cells, vertical.before, horizontal.before)
    places = torch.from_numpy(np.flatnonzero(mixed.numpy()))
    for some in torch.split(places, PLACES):
        settle(found, some, cells, *vertical, *horizontal)
    return found


def lines_of(cells: Tensor, before: Tensor, after: Tensor, fraction: Tensor) -> Tensor:
    """Logits (rows, columns, classes), interpolated vertically alone."""
    return torch.lerp(cells.index_select(0, before), cells.index_select(0, after), fraction[:, None, None])


@cache
def _graphs() -> tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]:
    """`_nearest` and `_settle`, recorded."""
    cells, axis = torch.rand(3, 3, 2), Axis(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 2, 2]), torch.rand(4))
    places = torch.arange(5)
    return (
        recorded(_nearest, cells, axis.before, axis.before),
        recorded(_settle, torch.zeros(4, 4, dtype=torch.uint8), places, cells, *axis, *axis),
    )


def _nearest(cells: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """For each pixel, the highest class of the cell before it, and whether the cells around it differ in theirs."""
    ids = _first_highest(cells)
    # columns first, since rows of pixels are then copied whole
    found, mixed = (each.index_select(1, columns).index_select(0, rows) for each in (ids, _mixed(ids)))
    return found, mixed


def _first_highest(logits: Tensor) -> Tensor:
    """Along the last dimension, the first of the highest: as `argmax`, in little more than half its time."""
    return logits.max(-1).indices.to(torch.uint8)


def _mixed(ids: Tensor) -> Tensor:
    """Whether the four cells from (row, column) on differ in their highest class.

    Where they do not, no pixel between them can: an average of logits that all have one class highest has it highest.
    """
    same = F.pad(ids[:, :-1] == ids[:, 1:], (0, 1), value=True)
    below = ids[:-1] == ids[1:]
    block = same[:-1] & same[1:] & below
    return ~torch.cat([block, same[-1:]])


def _settle(
    found: Tensor, places: Tensor, cells: Tensor, above: Tensor, below: Tensor, down: Tensor,
    left: Tensor, right: Tensor, across: Tensor,
) -> Tensor:  # fmt: skip
    """`found`, with the classes of the pixels at these places, counted row by row, computed from their logits."""
    lines, width = lines_of(cells, above, below, down), left.shape[0]
    ys = places // width
    xs = places - ys * width
    flat, start = lines.flatten(0, 1), ys * lines.shape[1]
    logits = flat.index_select(0, start + left.index_select(0, xs))
    logits.lerp_(flat.index_select(0, start + right.index_select(0, xs)), across.index_select(0, xs)[:, None])
    found.view(-1).scatter_(0, places, _first_highest(logits))  # as `index_put_`, in a quarter of its time
    return found
