"""From averaged logits, one cell for every `stride` working pixels, to the image's own pixels, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.highest import Axis, highest, lines_of
from model.merging import Band
from model.tiling import Size
from model.upsampling import Grid
from model.zones import Zones

CHUNK = {"cpu": 1 << 20}  # pixels at once: the fewer pieces, the less threads wait for the interpreter
LARGE_CHUNK = 1 << 21
FEW = {"cpu": 1 << 18}  # where all logits of a piece are held


class Rows(NamedTuple):
    """Some rows of pixels from `top` on: their cells (rows, columns, classes), and where the pixels lie among them."""

    top: int
    cells: Tensor
    vertical: Axis
    horizontal: Axis

    def parts(self) -> Iterator[Rows]:
        """The same rows in pieces that are small enough to hold the logits of each."""
        count, step = len(self.vertical.before), _rows_at_once(FEW, self.cells.device, len(self.horizontal.before))
        for start in range(0, count, step):
            yield self._replace(top=self.top + start, vertical=self.vertical.cut(slice(start, start + step)))

    def logits(self) -> Tensor:
        """Float32 logits (rows, width, classes), interpolated bilinearly."""
        lines = lines_of(self.cells, *self.vertical)
        columns = self.horizontal
        left, right = lines.index_select(1, columns.before), lines.index_select(1, columns.after)
        return torch.lerp(left, right, columns.fraction[:, None])

    def class_ids(self) -> Tensor:
        """The uint8 class ids (rows, width) of the highest logits; of equals, the lowest id."""
        if self.cells.device.type != "cpu":
            return self.logits().argmax(2).to(torch.uint8)
        return highest(self.cells, self.vertical, self.horizontal)

    def probability(self, ids: Tensor, temperature: float) -> Tensor:
        """Of these class ids (rows, width), the softmax of logits / temperature, float32."""
        logits = self.logits()
        winner = logits.gather(2, ids.long()[:, :, None])
        return 1 / logits.sub_(winner).div_(temperature).exp_().sum(2)

    def probabilities(self, temperature: float) -> Tensor:
        """Softmax of logits / temperature, float32 (classes, rows, width)."""
        return self.logits().div_(temperature).softmax(2).permute(2, 0, 1)


class LogitsScaler:
    """Interpolates bands of cells bilinearly to the rows of an image of size `target`.

    zones: of the whole map, along both axes. source: the working size, in pixels, that the target is scaled to.
    Cells lie on pixels 0, stride, ... (grid `corner`) or in the middle of their stride pixels (`half_pixel`); working
    and target pixels share their outer edges, and beyond the last centre the map is constant.
    """

    def __init__(self, zones: tuple[Zones, Zones], stride: int, grid: Grid, source: Size, target: Size) -> None:
        self.target = target
        self._axes = [(zones[i], stride, grid, source[i], target[i]) for i in (0, 1)]
        before, after, _ = _axis(*self._axes[0], "cpu")
        self._before, self._after = before.numpy(), after.numpy()
        self._kept: Tensor | None = None
        self._done = 0

    def push(self, band: Band) -> Iterator[Rows]:
        """The rows that this band, the next one downwards, completes."""
        cells = band.logits.permute(1, 2, 0)
        bottom = band.top + len(cells)
        cells = cells if self._kept is None else torch.cat([self._kept, cells])
        top = bottom - len(cells)
        ready = int(np.searchsorted(self._after, bottom))
        step = _rows_at_once(CHUNK, cells.device, self.target[1])
        there, horizontal = (_axis(*facts, str(cells.device)) for facts in self._axes)
        for start in range(self._done, ready, step):
            pixels = slice(start, min(start + step, ready))
            # the first rows keep the cells before theirs: an axis that is taken whole need not be counted anew
            first, last = int(self._before[start]) if start else top, int(self._after[pixels.stop - 1])
            yield Rows(start, cells[first - top : last - top + 1], there.cut(pixels, first), horizontal)
        self._done = ready
        self._kept = cells[-1:].clone() if ready < self.target[0] else None


def _rows_at_once(chunk: dict[str, int], device: torch.device, width: int) -> int:
    return max(1, chunk.get(device.type, LARGE_CHUNK) // width)


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
