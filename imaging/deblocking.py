"""Takes the steps between the blocks of a JPEG out of a photo, so that a filter does not follow them.

The blocks are seen in the pixels, so a photo that was turned, cut or saved in another format after it was a JPEG is treated as
well. A change between two pixels is expected to be the mean of the changes beside it; what exceeds that is a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats32, Pixels

BLOCK = 8  # pixels along a side
SAMPLE = 256  # lines of an axis whose steps are measured
LARGEST = 24  # grey levels: a larger step counts as this in the measurement, since it is rather an edge of the photo
LEAST = 0.05  # steps between blocks are left that exceed the others by less: by this share, and this many grey levels
REACH = 8.0  # a step is removed whole up to this many times what steps between blocks exceed the others by
SHARES = (0.5, 0.25)  # of a step, that the first and the second pixel on each side take


@dataclass(frozen=True)
class Blocks:
    """The blocks of a photo, as steps along its rows and along its columns show them.

    first: the column and the row, 0 to 7, at which blocks begin. excess: the grey levels by which steps there exceed others,
    along rows and along columns; 0 where no blocks are seen.
    """

    first: tuple[int, int]
    excess: tuple[float, float]

    @classmethod
    def of(cls, photo: Pixels) -> Blocks:
        """The blocks of a photo, uint8 (H, W, 3)."""
        (column, along_rows), (row, along_columns) = block_steps(photo), block_steps(photo.swapaxes(0, 1))
        return cls((column, row), (along_rows, along_columns))

    def smoothed(self, photo: Pixels, rows: slice, columns: slice) -> Pixels:
        """A part of the photo, uint8 (rows, columns, 3), without the steps between its blocks."""
        if not any(self.excess):
            return photo[rows, columns]
        top, left = max(0, rows.start - BLOCK), max(0, columns.start - BLOCK)
        part = photo[top : rows.stop + BLOCK, left : columns.stop + BLOCK].copy()
        for lines, offset, first, excess in zip((part, part.swapaxes(0, 1)), (left, top), self.first, self.excess, strict=True):
            if excess:
                _remove_steps(lines, (first - offset) % BLOCK, REACH * excess)
        return part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def block_steps(lines: Pixels) -> tuple[int, float]:
    """Where blocks begin along lines, uint8 (lines, length, 3), and by how many grey levels steps there exceed the others.

    The first is 0 to 7; the second is 0 where no blocks are seen.
    """
    count, length = lines.shape[:2]
    if length < 4 * BLOCK:
        return 0, 0.0
    sample = lines[np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.intp)].astype(np.float32)
    sizes = np.minimum(np.abs(_steps(sample, slice(2, length - 1))).mean(2), LARGEST).mean(0)
    by_place = np.array([sizes[(place - 2) % BLOCK :: BLOCK].mean() for place in range(BLOCK)])
    first = int(by_place.argmax())
    others = float(np.median(np.delete(by_place, first)))
    excess = float(by_place[first]) - others
    return first, excess if excess > LEAST * (others + 1) else 0.0


def _steps(lines: Floats32, places: slice) -> Floats32:
    """The steps between the pixels `places` of these lines and those before them, beyond the mean of the steps beside them."""
    start, stop, by = places.start, places.stop, places.step

    def at(offset: int) -> Floats32:
        return lines[:, start + offset : stop + offset : by]

    steps: Floats32 = np.float32(1.5) * (at(0) - at(-1)) + np.float32(0.5) * (at(-2) - at(1))
    return steps


def _remove_steps(lines: Pixels, first: int, reach: float) -> None:
    """Removes steps at blocks that begin at `first`, in place: whole up to `reach`, less of larger ones, none of twice that."""
    places = slice(first if first >= len(SHARES) else first + BLOCK, lines.shape[1] - len(SHARES) + 1, BLOCK)
    if places.start >= places.stop:
        return
    steps = _steps(lines.astype(np.float32), places)
    size = np.abs(steps)
    np.copysign(np.minimum(size, (2 * reach - size).clip(0)), steps, out=steps)
    for distance, share in enumerate(SHARES):
        for offset, part in ((-1 - distance, share), (distance, -share)):
            pixels = lines[:, places.start + offset : places.stop + offset : BLOCK]
            pixels[...] = np.rint(pixels + np.float32(part) * steps).clip(0, 255)
