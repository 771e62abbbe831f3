"""Interpolates averaged logits to the image's pixels, and finds each pixel's class and confidence.

The logits have one cell for every stride x stride pixels of the working size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from common.arrays import Floats, Floats32, Ids, Mask, Size
from model.architecture import Grid, first_centre
from model.inference.merging import JOINED_BYTES, Band, Logits
from model.inference.probabilities import log_odds, log_odds_of, probability_of_ids
from model.inference.tiling import UNIT, TilePlan

Indices = npt.NDArray[np.intp]
Value = TypeVar("Value", bound=np.generic)
BAND_PIXELS = 1 << 20  # pixels in one `Rows`
BAND_CELLS = 1 << 17  # cells in one `Rows`, so that it takes little memory also if each pixel has a cell
GATHERED_LOGITS = 1 << 16  # logits of one step of `Rows.logits_at`, which stay in a core's cache
LOGITS_PIXELS = 1 << 15  # pixels of one step of the interpolation of rows, whose values stay in a core's cache


class Axis(NamedTuple):
    """For each pixel along an axis: the indices of the cells before and after it, and its position between them (0 to 1)."""

    before: Indices
    after: Indices
    fraction: Floats32

    def cut(self, pixels: slice, first: int = 0) -> Axis:
        """The axis of these pixels, with cell indices relative to the cell `first`."""
        return Axis(self.before[pixels] - first, self.after[pixels] - first, self.fraction[pixels])


class ClassifiedRows(NamedTuple):
    """The class ids of some rows of pixels, and the totals for the mean confidence of each class.

    ids: uint8 (rows, width). counts: int64 (classes,), the number of pixels of each class. sums: float64 (classes,), the sum
    of the probabilities of the pixels of each class.
    """

    ids: Ids
    counts: Indices
    sums: Floats


class Rows(NamedTuple):
    """Consecutive rows of pixels, from row `top` on.

    cells: the logits of the cells around the pixels, float32 (rows, columns, classes). vertical, horizontal: the pixels'
    positions among the rows and the columns of cells.
    A square is four cells around pixels, two by two. Arrays of squares are indexed by the upper left cell. A square is mixed if
    its cells have their highest logits in different classes.
    """

    top: int
    cells: Logits
    vertical: Axis
    horizontal: Axis

    @property
    def pixel_rows(self) -> slice:
        """The rows of pixels, as an index into an array (height, ...) of the image."""
        return slice(self.top, self.top + len(self.vertical.before))

    def columns(self, pixels: slice) -> Rows:
        """The same rows, cut to the columns of a slice with a start and a stop. The values of the pixels stay the same."""
        first, last = int(self.horizontal.before[pixels.start]), int(self.horizontal.after[pixels.stop - 1])
        return self._replace(cells=self.cells[:, first : last + 1], horizontal=self.horizontal.cut(pixels, first))

    def class_ids(self) -> Ids:
        """Each pixel's class, uint8 (rows, width): the highest bilinearly interpolated logit; the lowest id among equals.

        If one class has the highest logit in all four cells of a square, it has the highest one in their weighted means, too.
        So the pixels there get this class. Other pixels are interpolated, and only for classes that can win: a class cannot win
        in a square in which its highest logit is below the lowest logit of another class.
        """
        winners = self.cells.argmax(2).astype(np.uint8)
        is_mixed = _is_mixed(winners)
        ids: Ids = self._spread(winners)
        possible = np.flatnonzero(self._can_win(is_mixed))
        for positions, logits in self.logits_at(np.flatnonzero(self._spread(is_mixed)), possible):
            ids.reshape(-1)[positions] = possible[logits.argmax(1)]
        return ids

    def _can_win(self, squares: Mask) -> Mask:
        """Whether each class can win in one of these squares, bool (classes,). squares: bool (rows, columns)."""
        rows, columns = np.nonzero(squares)
        # the rows below and the columns beside; at the edge, cells repeat
        below, beside = (np.minimum(at + 1, last - 1) for at, last in zip((rows, columns), self.cells.shape, strict=False))
        least = self.cells[rows, columns]
        most = least.copy()
        for corner in ((rows, beside), (below, columns), (below, beside)):
            logits = self.cells[corner]
            np.minimum(least, logits, out=least)
            np.maximum(most, logits, out=most)
        return np.asarray((most >= least.max(1, keepdims=True)).any(0))

    def class_ids_and_confidence(self, temperature: float, confidence: Ids | None = None) -> ClassifiedRows:
        """The ids of `class_ids`, with the totals of the probabilities of the pixels' classes.

        confidence: uint8 (rows, width); it gets round(255 x probability) of each pixel.

        The probability is the softmax of the interpolated logits / temperature. Where the four cells of a square agree on a
        class, an approximation is faster: the log-odds of that class, one value per cell, are interpolated. It differs from
        the softmax by less than 1/255 nearly everywhere. Interpolated probabilities would have ten times the error.
        """
        winners, classes = self.cells.argmax(2), self.cells.shape[2]
        is_mixed = _is_mixed(winners)
        ids: Ids = self._spread(winners.astype(np.uint8))
        # the approximation for all pixels; the totals leave out those of mixed squares
        cell_sums = self._sums(log_odds(self.cells, temperature), confidence)
        cell_counts = self._pixels_of_cells()
        counts = np.bincount(winners[~is_mixed], cell_counts[~is_mixed], classes).astype(np.intp)
        sums = np.bincount(winners[~is_mixed], cell_sums[~is_mixed], classes).astype(np.float64)
        # the softmax for the pixels of mixed squares
        for positions, logits in self.logits_at(np.flatnonzero(self._spread(is_mixed))):
            class_ids = logits.argmax(1)
            probability = probability_of_ids(logits, class_ids, temperature)
            ids.reshape(-1)[positions] = class_ids
            counts += np.bincount(class_ids, minlength=classes)
            sums += np.bincount(class_ids, probability, classes)
            if confidence is not None:
                confidence.reshape(-1)[positions] = np.rint(255 * probability)
        return ClassifiedRows(ids, counts, sums)

    def confidence_of(self, ids: Ids, temperature: float, confidence: Ids | None = None) -> ClassifiedRows:
        """As `class_ids_and_confidence`, for given class ids, uint8 (rows, width), instead of those of `class_ids`."""
        winners = self.cells.argmax(2).astype(np.uint8)
        needs_softmax = self._spread(_is_mixed(winners)) | (self._spread(winners) != ids)
        probability, classes = np.empty(ids.shape, np.float32), self.cells.shape[2]
        for rows, part in self._probabilities(log_odds(self.cells, temperature)):
            probability[rows] = part
        for positions, logits in self.logits_at(np.flatnonzero(needs_softmax)):
            probability.reshape(-1)[positions] = probability_of_ids(logits, ids.reshape(-1)[positions], temperature)
        flat = ids.reshape(-1)
        sums = np.bincount(flat, probability.reshape(-1), classes).astype(np.float64)
        if confidence is not None:
            probability *= 255
            confidence[:] = np.rint(probability, out=probability)
        return ClassifiedRows(ids, np.bincount(flat, minlength=classes), sums)

    def probability_of(self, class_ids: Collection[int], temperature: float) -> Iterator[tuple[slice, Floats32]]:
        """Yields rows of pixels, and for each pixel the probability that its class is one of these, float32 (rows, width).

        Interpolates the log-odds of these classes, one value per cell.
        """
        return self._probabilities(log_odds_of(self.cells, class_ids, temperature))

    def logits_at(self, positions: Indices, classes: Indices | slice = slice(None)) -> Iterator[tuple[Indices, Logits]]:
        """Yields parts of the flat positions, and for each part the interpolated logits of these classes (pixels, classes)."""
        if not len(positions):
            return
        lines = interpolate(self.cells[:, :, classes], self.vertical, 0)  # rows of pixels, but columns of cells
        flat = lines.reshape(-1, lines.shape[2])
        step = max(1, GATHERED_LOGITS // lines.shape[2])
        for start in range(0, len(positions), step):
            chunk = positions[start : start + step]
            rows, columns = np.divmod(chunk, len(self.horizontal.before))
            line_starts = rows * lines.shape[1]  # in `flat`
            before, after = (flat.take(line_starts + cells.take(columns), 0) for cells in self.horizontal[:2])
            yield chunk, _between(before, after, self.horizontal.fraction.take(columns)[:, None])

    def logits(self) -> Iterator[tuple[slice, Logits]]:
        """Yields a few rows of pixels at a time, and their interpolated logits, float32 (classes, rows, width)."""
        for rows in self._steps():
            lines = np.ascontiguousarray(interpolate(self.cells, self.vertical.cut(rows), 0).transpose(2, 0, 1))
            before, after = lines.take(self.horizontal.before, 2), lines.take(self.horizontal.after, 2)
            yield rows, _between(before, after, self.horizontal.fraction)

    def _pixels_of_cells(self) -> Indices:
        """For each cell (rows, columns), the number of the pixels whose `before` cell it is."""
        rows, columns, _ = self.cells.shape
        pixel_rows = np.bincount(self.vertical.before, minlength=rows)
        return np.outer(pixel_rows, np.bincount(self.horizontal.before, minlength=columns))

    def _sums(self, log_odds: Floats32, confidence: Ids | None) -> Floats:
        """For each cell, the sum of the probabilities of the pixels whose `before` cell it is, float64 (rows, columns).

        log_odds: of the cells; they are interpolated. confidence: as for `class_ids_and_confidence`.
        """
        # the first pixel row of each row of cells, and the first pixel column of each column of cells
        first_rows, first_columns = (np.flatnonzero(np.diff(axis.before, prepend=-1)) for axis in self[2:])
        row_sums = np.empty((len(self.vertical.before), len(first_columns)))
        for rows, probability in self._probabilities(log_odds):
            row_sums[rows] = np.add.reduceat(probability, first_columns, 1)
            if confidence is not None:
                probability *= 255
                confidence[rows] = np.rint(probability, out=probability)
        sums = np.zeros(log_odds.shape)
        cells = np.ix_(self.vertical.before[first_rows], self.horizontal.before[first_columns])
        sums[cells] = np.add.reduceat(row_sums, first_rows, 0)
        return sums

    def _probabilities(self, log_odds: Floats32) -> Iterator[tuple[slice, Floats32]]:
        """Yields rows of pixels, and their probabilities, float32 (rows, width), from the log-odds of cells (rows, columns).

        A probability is 1 / (1 + exp(-log-odds)).
        """
        lines = interpolate(-log_odds[:, :, None], self.vertical, 0)[:, :, 0]  # rows of pixels, but columns of cells
        before, after, fraction = self.horizontal
        # from each cell to the next one; 0 at the edge
        slopes = lines.take(np.minimum(np.arange(lines.shape[1]) + 1, after.max()), 1) - lines
        for rows in self._steps():
            probability = slopes[rows].take(before, 1)
            probability *= fraction
            probability += lines[rows].take(before, 1)
            np.exp(probability, out=probability)
            probability += 1
            yield rows, np.divide(1, probability, out=probability)

    def _steps(self) -> Iterator[slice]:
        """Slices of about `LOGITS_PIXELS` pixels each, which together are all rows of pixels."""
        step = max(1, LOGITS_PIXELS // len(self.horizontal.before))
        return (slice(start, start + step) for start in range(0, len(self.vertical.before), step))

    def _spread(self, cells: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """For each pixel, the value of the cell before it (its square). cells: (rows, columns)."""
        return cells.take(self.horizontal.before, 1).take(self.vertical.before, 0)


class LogitsUpsampler:
    """Interpolates bands of cells bilinearly to the rows of an image of size `target`. For one thread.

    cells: (rows, columns) of the whole map. source: the working size, in pixels, to which the image was scaled for the network.
    The centres of cells lie on the working pixels 0, stride, ... (grid `corner`), or in the middle of each run of `stride`
    working pixels (`half_pixel`). The working image and the target have the same outer edges. Beyond the outermost centres the
    map is constant. first_row: the first row of the target to yield; bands may then begin at the `first_cell` of this row, or
    above it.
    """

    def __init__(self, cells: Size, stride: int, grid: Grid, source: Size, target: Size, first_row: int = 0) -> None:
        self._vertical, self._horizontal = (
            cells_at(scaled(np.arange(target[i]), target[i], source[i]), cells[i], stride, grid) for i in (0, 1)
        )
        self._target = target
        self._step = band_rows(target, cells)
        self._last_row: Logits | None = None  # of cells
        self._next_row = first_row  # of pixels

    def first_cell(self, row: int) -> int:
        """The first row of cells that a row of the target depends on."""
        return int(self._vertical.before[row])

    def push(self, band: Band) -> Iterator[Rows]:
        """Takes the next band, from top to bottom, and yields the rows of pixels whose cells have now all come."""
        bottom = band.top + len(band.logits)
        cells = band.logits if self._last_row is None else np.concatenate([self._last_row, band.logits])
        top = bottom - len(cells)  # the row of the map at which `cells` begins
        end = int(np.searchsorted(self._vertical.after, bottom))  # the first row of pixels that needs a later row of cells
        for start in range(self._next_row, end, self._step):
            pixels = slice(start, min(start + self._step, end))
            first, last = int(self._vertical.before[start]), int(self._vertical.after[pixels.stop - 1])
            yield Rows(start, cells[first - top : last - top + 1], self._vertical.cut(pixels, first), self._horizontal)
        self._next_row = max(end, self._next_row)
        self._last_row = cells[-1:].copy() if end < self._target[0] else None


def band_rows(target: Size, cells: Size) -> int:
    """The number of pixel rows in one `Rows`: for at most `BAND_PIXELS` pixels and about `BAND_CELLS` cells; at least 1."""
    return max(1, min(BAND_PIXELS // target[1], BAND_CELLS * target[0] // (cells[0] * cells[1])))


def band_bytes(target: Size, tiles: TilePlan, classes: int, stride: int) -> int:
    """Upper bound of the bytes that merging and interpolation need besides their results."""
    rows = min(target[0], band_rows(target, tiles.cells(stride)) + 1)  # of pixels
    cell_rows = tiles.size[0] * rows // (stride * target[0]) + 2  # around the rows of pixels
    line_bytes = tiles.cells(stride)[1] * 4 * classes  # of a row of cells
    tile_bytes = 2 * 4 * classes * (tiles.tile[0] // stride) * (tiles.tile[1] // stride)
    tile_row_bytes = line_bytes * (tiles.tile[0] // stride)
    joined_bytes = min(tile_row_bytes, max(JOINED_BYTES, line_bytes * UNIT // stride))
    merge_bytes = tile_bytes + tile_row_bytes + 2 * joined_bytes + 3 * line_bytes * cell_rows
    interpolation_bytes = 2 * line_bytes * rows + 17 * rows * target[1] + 12 * GATHERED_LOGITS + 16 * LOGITS_PIXELS * classes
    return merge_bytes + interpolation_bytes + 64 * sum(target)


def _is_mixed(winners: npt.NDArray[np.generic]) -> Mask:
    """Which squares are mixed, bool (rows, columns). Beyond the edge, cells repeat. winners: the class of each cell."""
    with_edge = np.pad(winners, (0, 1), mode="edge")
    first = with_edge[:-1, :-1]
    return np.asarray((first != with_edge[:-1, 1:]) | (first != with_edge[1:, :-1]) | (first != with_edge[1:, 1:]))


def interpolate(cells: Logits, axis: Axis, dimension: int) -> Logits:
    """Logits (rows, columns, classes), interpolated along one dimension alone: 0 (rows) or 1 (columns)."""
    before, after = cells.take(axis.before, dimension), cells.take(axis.after, dimension)
    return _between(before, after, axis.fraction.reshape((-1, 1, 1) if dimension == 0 else (-1, 1)))


def _between(before: Logits, after: Logits, fraction: Floats32) -> Logits:
    """The values at positions between `before` (fraction 0) and `after` (fraction 1). Writes them over `after`."""
    after -= before
    after *= fraction
    after += before
    return after


def scaled(pixels: npt.NDArray[Any], target: int, source: int) -> Floats:
    """The positions of pixels of an axis of `target` pixels on the same axis, scaled to `source` pixels; float64."""
    return ((pixels + 0.5) * (source / target) - 0.5).clip(0, source - 1)


def cells_at(pixels: npt.NDArray[np.floating[Any]], cells: int, stride: int, grid: Grid) -> Axis:
    """The positions of pixels among the cells of an axis. pixels: positions along the axis, in working pixels."""
    positions = ((pixels - first_centre(stride, grid)) / stride).clip(0, cells - 1)
    before = positions.astype(np.intp)
    return Axis(before, np.minimum(before + 1, cells - 1), (positions - before).astype(np.float32))
