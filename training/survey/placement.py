"""Finds masks whose borders do not lie on the edges of their photo: mirrored, turned, moved or swapped, they would fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from common.arrays import Floats, Floats32, Ids, Integers16, Mask, Pixels
from training.survey.photos import SIDE

RIM = 5  # cells beside the frame's rim that are left out: masks often end a little before it, and some photos have a black line
FEWEST = 32  # cells of a mask's borders; fewer say nothing
NEAREST, FARTHEST = 4, 24  # cells by which masks are moved at least, and at most; a best place at the most is none
PADDED = 160  # cells of the grids that are correlated: SIDE + FARTHEST and more, so that no move wraps around
SLACK = 2  # cells by which a turned or mirrored mask may lie beside its place
KEPT = 0.75  # share of the borders that must stay inside the frame
# With these two, 3 of 1,200 photographs of the train split of Pascal VOC and 1 of 217 of val were named, and about nine in ten
# of their masks if they were mirrored, turned by 180 degrees, or moved by 4% to 12% of the width.
LEAST_GAIN = 2.0  # rise of the mean rank of the edges below the borders, times the root of the number of their cells
LEAST_PEAK = 2.0  # standard deviations of that mean over all places, by which the best one exceeds their mean
SWAP_SIDE = 64  # cells of photos and masks that are compared with all others
EDGES = 0.4  # share of a photo's cells that count as edges
FEWEST_SWAPPED = SWAP_SIDE // 4  # cells of a mask's borders; fewer say nothing
# Of 1,200 photographs of the train split of Pascal VOC, one pair in 60,000 exceeds this, and none of 217 of val. Of swapped
# masks, 92% and 97% of the pairs do.
SWAP_GAIN = 7.5  # of two masks when swapped: the rise of the share of borders on edges, times the root of their cells, in sum
ROWS = 512  # photos that are compared with all masks at once


class PhotoEdges:
    """The edges of a photo, on which the borders of its mask should lie; edges count by their rank in the photo, 0 to 1.

    ranks: float64 (128, 128).
    """

    def __init__(self, colors: Pixels) -> None:
        """colors: of the photo, `training.survey.photos.mean_colors`."""
        inside = np.zeros((SIDE, SIDE))
        inside[RIM:-RIM, RIM:-RIM] = 1
        self.ranks = _ranks(edge_strength(colors))
        self._spectra = [np.fft.rfft2(grid, (PADDED, PADDED)) for grid in (self.ranks * inside, inside)]
        self._inside = inside > 0

    def better_place(self, ids: Ids) -> str | None:
        """What must be done to a mask (H, W) for its borders to lie on the edges: `moved`, or one of the texts of `_turned`.

        None if they do, or if they say nothing.
        """
        fits = self._fits(ids)
        if fits is None:
            return None
        own = float(np.nanmax(_near(fits[0], 1)))
        best: tuple[float, str] | None = None
        far = fits[0].copy()
        _near(far, NEAREST - 1)[:] = np.nan
        gain = _gain(fits, far, own)
        if gain > LEAST_GAIN:
            move = np.subtract(np.unravel_index(int(np.nanargmax(far)), far.shape), FARTHEST)
            if np.abs(move).max() < FARTHEST:
                best = gain, "moved"
        for text, turn in _turned(ids):
            scores = self._fits(turn)
            gain = 0.0 if scores is None else _gain(scores, _near(scores[0], SLACK), own)
            if gain > LEAST_GAIN and (best is None or gain > best[0]):
                best = gain, text
        return best and best[1]

    def fits_better(self, ids: Ids, other: Ids) -> bool:
        """Whether a mask's borders clearly lie on the edges, and those of another mask of this size do not."""
        fits, elsewhere = self._fits(ids), self._fits(other)
        if fits is None or elsewhere is None:
            return False
        return _gain(fits, _near(fits[0], SLACK), float(np.nanmax(_near(elsewhere[0], 1)))) > LEAST_GAIN

    def _fits(self, ids: Ids) -> tuple[Floats, int] | None:
        """The mean rank below the borders for each move, NaN where too few are inside, and the number of their cells.

        The scores are (2 FARTHEST + 1, 2 FARTHEST + 1), by rows and columns of the move; the middle is the mask as it lies.
        None if there are too few borders.
        """
        borders = border_mask(ids, SIDE) & self._inside
        count = int(borders.sum())
        if count < FEWEST:
            return None
        spectrum = np.fft.rfft2(borders.astype(np.float64), (PADDED, PADDED)).conj()
        moves = np.ix_(*[np.arange(-FARTHEST, FARTHEST + 1)] * 2)
        sums, cells = (np.fft.irfft2(photo * spectrum, (PADDED, PADDED))[moves] for photo in self._spectra)
        return np.where(cells > KEPT * count, sums / np.maximum(1, cells), np.nan), count


def _gain(scores: tuple[Floats, int], best: Floats, own: float) -> float:
    """By how much the best of some places exceeds `own`, in units of `LEAST_GAIN`; 0 if it does not stand out of all places."""
    grid, count = scores
    if np.isnan(best).all() or np.nanmax(best) < np.nanmean(grid) + LEAST_PEAK * np.nanstd(grid):
        return 0.0
    return float((np.nanmax(best) - own) * np.sqrt(count))


def _near(grid: Floats, cells: int) -> Floats:
    """The part of a grid of moves that are at most so many cells long."""
    return grid[FARTHEST - cells : FARTHEST + cells + 1, FARTHEST - cells : FARTHEST + cells + 1]


def _turned(ids: Ids) -> Iterator[tuple[str, Ids]]:
    yield "mirrored", ids[:, ::-1]
    yield "mirrored top to bottom", ids[::-1]
    yield "turned by 180 degrees", ids[::-1, ::-1]
    if ids.shape[0] == ids.shape[1]:
        yield "turned by 90 degrees to the left", np.rot90(ids)
        yield "turned by 90 degrees to the right", np.rot90(ids, 3)


def _ranks(strength: Integers16) -> Floats:
    """The share of the cells whose strength is lower, half of the equal ones included."""
    _, inverse, counts = np.unique(strength, return_inverse=True, return_counts=True)
    ranks: Floats = ((np.cumsum(counts) - counts / 2) / strength.size)[inverse].reshape(strength.shape)
    return ranks


def edge_strength(values: Pixels) -> Integers16:
    """The largest difference between each cell and a neighbour, int16 (n, n). values: of cells (n, n, c), such as colours."""
    integers = values.astype(np.int16)
    strength = np.zeros(values.shape[:2], np.int16)
    across, down = (np.abs(np.diff(integers, axis=axis)).max(2) for axis in (1, 0))
    for part, steps in (
        (strength[:, 1:], across), (strength[:, :-1], across), (strength[1:], down), (strength[:-1], down),
    ):  # fmt: skip
        np.maximum(part, steps, out=part)
    return strength


def border_mask(ids: Ids, side: int) -> Mask:
    """Which of side x side cells of a mask (H, W) have another id than a neighbour, the frame's rim apart."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in ids.shape)
    borders = edge_strength(ids[np.ix_(rows, columns)][..., None]) > 0
    inner = np.zeros_like(borders)
    inner[1:-1, 1:-1] = borders[1:-1, 1:-1]
    return inner


def edge_cells(colors: Pixels) -> bytes:
    """Which of 64x64 cells of an image differ most from a neighbour, as `swapped` takes it.

    colors: of the image, `training.survey.photos.mean_colors`.
    """
    strength = edge_strength(np.asarray(Image.fromarray(colors).resize((SWAP_SIDE, SWAP_SIDE), Image.Resampling.BOX)))
    return np.packbits(strength >= max(1, np.quantile(strength, 1 - EDGES))).tobytes()


def border_cells(ids: Ids) -> bytes:
    """Which of 64x64 cells of a mask (H, W) have another id than a neighbour, the frame's rim apart, as `swapped` takes it."""
    return np.packbits(border_mask(ids, SWAP_SIDE)).tobytes()


def swapped(edges: Sequence[bytes], borders: Sequence[bytes]) -> list[tuple[int, int]]:
    """The index pairs of frames whose masks fit each other's photo better, the clearest first; each frame once.

    edges, borders: `edge_cells` of each frame's photo and `border_cells` of its mask. Takes about 32 KB for each frame.
    """
    photos, masks = _unpack(edges), _unpack(borders)
    counts = masks.sum(1)
    usable = np.flatnonzero(counts >= FEWEST_SWAPPED)
    photos, masks, roots = photos[usable], masks[usable] / np.maximum(1, counts[usable, None]), np.sqrt(counts[usable])
    own = (photos * masks).sum(1)
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(usable), ROWS):
        rows = slice(start, start + ROWS)
        gains = (photos[rows] @ masks.T - own) * roots + (masks[rows] @ photos.T - own[rows, None]) * roots[rows, None]
        pairs += [
            (-float(gains[row, other]), start + row, other)
            for row, other in np.argwhere(gains > SWAP_GAIN).tolist()
            if start + row < other
        ]
    once: dict[int, int] = {}
    for _, first, other in sorted(pairs):
        if not {first, other} & {*once, *once.values()}:
            once[first] = other
    return [(int(usable[first]), int(usable[other])) for first, other in once.items()]


def _unpack(cells: Sequence[bytes]) -> Floats32:
    """The cells as 0 and 1, float32 (n, 4096)."""
    bits = np.unpackbits(np.frombuffer(b"".join(cells), np.uint8))
    return bits.reshape(len(cells), SWAP_SIDE * SWAP_SIDE).astype(np.float32)
