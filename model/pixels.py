"""From averaged logits, one cell for every `stride` working pixels, to the image's own pixels, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.merging import Band
from model.tiling import Size
from model.upsampling import Grid
from model.zones import Zones

CHUNK = {"cpu": 1 << 18}  # pixels at once: the fewer pieces, the less threads wait for the interpreter
LARGE_CHUNK = 1 << 21


class Axis(NamedTuple):
    """For each pixel along an axis, the cells before and after it, and how far it lies between them (0 to 1)."""

    before: Tensor
    after: Tensor
    fraction: Tensor

    def cut(self, pixels: slice, first: int = 0) -> Axis:
        """These pixels, their cells counted from `first` on."""
        return Axis(self.before[pixels] - first, self.after[pixels] - first, self.fraction[pixels])


class Rows(NamedTuple):
    """Some rows of pixels from `top` on: their cells (rows, columns, classes), and where the pixels lie among them."""

    top: int
    cells: Tensor
    vertical: Axis
    horizontal: Axis

    def logits(self) -> Tensor:
        """Float32 logits (rows, width, classes), interpolated bilinearly."""
        lines = self._lines()
        columns = self.horizontal
        left, right = lines.index_select(1, columns.before), lines.index_select(1, columns.after)
        return torch.lerp(left, right, columns.fraction[:, None])

    def class_ids(self) -> Tensor:
        """The uint8 class ids (rows, width) of the highest logits; of equals, the lowest id."""
        if self.cells.device.type != "cpu":
            return self.logits().argmax(2).to(torch.uint8)
        ids = self.cells.argmax(2).to(torch.uint8)
        found, mixed = self._nearest(ids), self._nearest(_mixed(ids))
        places = torch.from_numpy(np.flatnonzero(mixed.numpy()))
        found.view(-1)[places] = self._picked(places).argmax(1).to(torch.uint8)
        return found

    def probability(self, ids: Tensor, temperature: float) -> Tensor:
        """Of these class ids (rows, width), the softmax of logits / temperature, float32."""
        logits = self.logits()
        winner = logits.gather(2, ids.long()[:, :, None])
        return 1 / logits.sub_(winner).div_(temperature).exp_().sum(2)

    def probabilities(self, temperature: float) -> Tensor:
        """Softmax of logits / temperature, float32 (classes, rows, width)."""
        return self.logits().div_(temperature).softmax(2).permute(2, 0, 1)

    def _lines(self) -> Tensor:
        """Logits (rows, columns, classes), interpolated vertically alone."""
        rows = self.vertical
        above, below = self.cells.index_select(0, rows.before), self.cells.index_select(0, rows.after)
        return torch.lerp(above, below, rows.fraction[:, None, None])

    def _nearest(self, cells: Tensor) -> Tensor:
        """The cell (rows, columns) before each pixel; columns first, since rows of pixels are then copied whole."""
        return cells.index_select(1, self.horizontal.before).index_select(0, self.vertical.before)

    def _picked(self, places: Tensor) -> Tensor:
        """Logits (pixels, classes) of the pixels at these places, counted row by row."""
        lines, columns = self._lines(), self.horizontal
        width = len(columns.before)
        ys = places // width
        xs = places - ys * width
        flat, start = lines.flatten(0, 1), ys * lines.shape[1]
        left = flat.index_select(0, start + columns.before.index_select(0, xs))
        right = flat.index_select(0, start + columns.after.index_select(0, xs))
        return left.lerp_(right, columns.fraction.index_select(0, xs)[:, None])


def _mixed(ids: Tensor) -> Tensor:
    """Whether the four cells from (row, column) on differ in their highest class.

    Where they do not, no pixel between them can: an average of logits that all have one class highest has it highest.
    """
    same = ids[:, :-1] == ids[:, 1:]
    same = torch.cat([same, same.new_ones(len(ids), 1)], 1)
    below = ids[:-1] == ids[1:]
    block = same[:-1] & same[1:] & below
    return ~torch.cat([block, same[-1:]])


class LogitsScaler:
    """Interpolates bands of cells bilinearly to the rows of an image of size `target`.

    zones: of the whole map, along both axes. source: the working size, in pixels, that the target is scaled to.
    Cells lie on pixels 0, stride, ... (grid `corner`) or in the middle of their stride pixels (`half_pixel`); working
    and target pixels share their outer edges, and beyond the last centre the map is constant.
    """

    def __init__(self, zones: tuple[Zones, Zones], stride: int, grid: Grid, source: Size, target: Size) -> None:
        self.target = target
        self._axes = [(zones[i], stride, grid, source[i], target[i]) for i in (0, 1)]
        self._vertical = _axis(*self._axes[0], "cpu")
        self._kept: Tensor | None = None
        self._done = 0

    def push(self, band: Band) -> Iterator[Rows]:
        """The rows that this band, the next one downwards, completes."""
        cells = band.logits.permute(1, 2, 0)
        bottom = band.top + len(cells)
        cells = cells if self._kept is None else torch.cat([self._kept, cells])
        top = bottom - len(cells)
        ready = int(torch.searchsorted(self._vertical.after, bottom))
        step = max(1, CHUNK.get(cells.device.type, LARGE_CHUNK) // self.target[1])
        there, horizontal = (_axis(*facts, str(cells.device)) for facts in self._axes)
        for start in range(self._done, ready, step):
            pixels = slice(start, min(start + step, ready))
            first, last = int(self._vertical.before[start]), int(self._vertical.after[pixels.stop - 1])
            yield Rows(start, cells[first - top : last - top + 1], there.cut(pixels, first), horizontal)
        self._done = ready
        self._kept = cells[-1:].clone()


@lru_cache(maxsize=256)
def _axis(zones: Zones, stride: int, grid: Grid, source: int, target: int, device: str) -> Axis:
    if device != "cpu":
        return Axis(*(part.to(device) for part in _axis(zones, stride, grid, source, target, "cpu")))
    pixels = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp(0, source - 1)
    edges = torch.tensor(zones.edges)
    own = (pixels / stride).floor().long()
    zone = torch.searchsorted(edges, own, right=True) - 1
    centre = 0 if grid == "corner" else (stride - 1) / 2
    places = (pixels - centre) / stride
    before = places.floor()
    kept = before.long() + 2 * zone + 1
    return Axis(kept, kept + 1, (places - before).float())
