"""Finds masks that were swapped: the borders of their regions lie on the edges of each other's photo, and not of their own."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Ids = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.bool_]
SIDE = 64
EDGES = 0.4  # share of a photo's cells that count as edges
FEWEST = SIDE // 4  # cells of a mask's borders; fewer say nothing
# Of 1,200 photographs of the train split of Pascal VOC, one pair in 60,000 exceeds this, and none of 217 of val. Of swapped
# masks, 92% and 97% of the pairs do.
LEAST_GAIN = 7.5  # of two masks when swapped: the rise of the share of borders on edges, times the root of their cells, in sum
ROWS = 512  # photos that are compared with all masks at once


def edge_strength(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """The largest difference between each cell and a neighbour, int16 (n, n). colors: mean colours, uint8 (n, n, 3)."""
    values = colors.astype(np.int16)
    strength = np.zeros(values.shape[:2], np.int16)
    across, down = (np.abs(np.diff(values, axis=axis)).max(2) for axis in (1, 0))
    for part, steps in (
        (strength[:, 1:], across), (strength[:, :-1], across), (strength[1:], down), (strength[:-1], down),
    ):  # fmt: skip
        np.maximum(part, steps, out=part)
    return strength


def border_mask(ids: Ids, side: int) -> Cells:
    """Which of side x side cells of a mask (H, W) have another id than a neighbour, the frame's rim apart."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in ids.shape)
    cells = ids[np.ix_(rows, columns)]
    borders = np.zeros((side, side), bool)
    across, down = cells[:, 1:] != cells[:, :-1], cells[1:] != cells[:-1]
    for part, steps in ((borders[:, 1:], across), (borders[:, :-1], across), (borders[1:], down), (borders[:-1], down)):
        part |= steps
    inner = np.zeros_like(borders)
    inner[1:-1, 1:-1] = borders[1:-1, 1:-1]
    return inner


def edge_cells(colors: npt.NDArray[np.uint8]) -> str:
    """Which of 64x64 cells of an image differ most from a neighbour, as `swapped` takes it.

    colors: of the image, `training.survey.appearance.mean_colors`.
    """
    strength = edge_strength(np.asarray(Image.fromarray(colors).resize((SIDE, SIDE), Image.Resampling.BOX)))
    return _pack(strength >= max(1, np.quantile(strength, 1 - EDGES)))


def border_cells(ids: Ids) -> str:
    """Which of 64x64 cells of a mask (H, W) have another id than a neighbour, the frame's rim apart, as `swapped` takes it."""
    return _pack(border_mask(ids, SIDE))


def swapped(edges: Sequence[str], borders: Sequence[str]) -> list[tuple[int, int]]:
    """The index pairs of frames whose masks fit each other's photo better, the clearest first; each frame once.

    edges, borders: `edge_cells` of each frame's photo and `border_cells` of its mask. Takes about 32 KB for each frame.
    """
    photos, masks = _unpack(edges), _unpack(borders)
    counts = masks.sum(1)
    usable = np.flatnonzero(counts >= FEWEST)
    photos, masks, roots = photos[usable], masks[usable] / np.maximum(1, counts[usable, None]), np.sqrt(counts[usable])
    own = (photos * masks).sum(1)
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(usable), ROWS):
        rows = slice(start, start + ROWS)
        gains = (photos[rows] @ masks.T - own) * roots + (masks[rows] @ photos.T - own[rows, None]) * roots[rows, None]
        pairs += [
            (-float(gains[row, other]), start + row, other)
            for row, other in np.argwhere(gains > LEAST_GAIN).tolist()
            if start + row < other
        ]
    once: dict[int, int] = {}
    for _, first, other in sorted(pairs):
        if not {first, other} & {*once, *once.values()}:
            once[first] = other
    return [(int(usable[first]), int(usable[other])) for first, other in once.items()]


def _pack(cells: Cells) -> str:
    return base64.b64encode(np.packbits(cells).tobytes()).decode("ascii")


def _unpack(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The cells as 0 and 1, float32 (n, 4096)."""
    data = np.frombuffer(b"".join(base64.b64decode(text) for text in texts), np.uint8)
    return np.unpackbits(data).reshape(len(texts), SIDE * SIDE).astype(np.float32)
