"""Reads COCO's run lengths, compressed or not, and paints them into masks.

They are the numbers of pixels outside and inside an object, in turn, by columns from left to right, each from top to bottom.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Ids, Integers, Mask

# a character's code is 48 plus six bits: the highest says that more characters follow, the lower five hold part of the number
FIRST, MORE, BITS = 48, 0x20, 5
LONGEST = 8  # most characters of one number


def read_counts(counts: str | Sequence[int], size: tuple[int, int]) -> Integers:
    """The run lengths of compressed or plain counts, int64, the first outside the class. `size` is (height, width).

    Raises `ValueError` if the counts are no run lengths, or do not add up to the image's pixels. pycocotools would fill the
    rest from uninitialised memory.
    """
    lengths = _parse(counts) if isinstance(counts, str) else _from_numbers(counts)
    height, width = size
    if lengths.size and lengths.min() < 0:
        raise ValueError(f"a run length is 0 or more, got {int(lengths.min())}")
    total = int(lengths.sum())
    if total != height * width:
        raise ValueError(f"run lengths cover {total} pixels, the image has {height}x{width} = {height * width}")
    return lengths


def paint_runs(mask: Ids | Mask, lengths: Integers, value: int) -> None:
    """Sets the pixels of a mask (H, W) that lie in the class's runs. Takes memory for the columns that the runs touch alone.

    lengths: as `read_counts` gives them.
    """
    height = mask.shape[0]
    inside = np.flatnonzero(lengths[1::2]) * 2 + 1
    if not inside.size:
        return
    ends = np.cumsum(lengths)
    first, last = int(ends[inside[0] - 1]) // height, int(ends[inside[-1]] - 1) // height
    runs = lengths[inside[0] - 1 : inside[-1] + 1].copy()
    runs[0] = ends[inside[0] - 1] - first * height
    runs = np.append(runs, (last + 1) * height - ends[inside[-1]])
    part = np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(last - first + 1, height).T
    mask[:, first : last + 1][part] = value


def _from_numbers(counts: Sequence[int]) -> Integers:
    if not all(isinstance(count, int | float) and not isinstance(count, bool) and count == count // 1 for count in counts):
        raise ValueError(f"run lengths are whole numbers, got {str(counts)[:60]}")
    if any(abs(count) > 1 << 40 for count in counts):
        raise ValueError(f"run lengths are far longer than an image: {str(counts)[:60]}")
    return np.array(counts, np.int64).reshape(-1)


def _parse(text: str) -> Integers:
    """The numbers of a compressed string. From the fourth on, each is stored as the difference to the number two before it."""
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - FIRST
    last = np.flatnonzero((codes & MORE) == 0)
    sizes = np.diff(last, prepend=-1)
    complete = last.size > 0 and last[-1] == codes.size - 1 and int(sizes.max()) <= LONGEST
    if not complete or int(codes.min()) < 0 or int(codes.max()) >= 2 * MORE:
        raise ValueError(f"not a run-length encoding: {text[:40]!r}")
    first = last - sizes + 1
    place = BITS * (np.arange(codes.size) - np.repeat(first, sizes))
    numbers: Integers = np.add.reduceat((codes & (MORE - 1)) << place, first)
    negative = (codes[last] & (MORE >> 1)) > 0
    numbers -= np.where(negative, 1 << BITS * sizes, 0)
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers
