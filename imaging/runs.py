"""Runs of equal pixels in a class map's columns, and COCO's run-length encoding of them.

Regions, run lengths and boxes are computed from runs. In COCO's order pixels are ordered by columns from left to right, each
from top to bottom. Its run lengths are those outside and inside a class, in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from imaging.arrays import Pixels
from imaging.errors import AnswerTooLarge

Integers = npt.NDArray[np.signedinteger]
Lengths = npt.NDArray[np.int64]
BAND_PIXELS = 1 << 20
# a character's code is 48 plus six bits: the highest says that more characters follow, the lower five hold part of the number
FIRST, MORE, BITS = 48, 0x20, 5
LONGEST = 8  # most characters of one number
LARGEST_COUNT = (1 << 32) - 1  # of pycocotools, whose counts are 32 bits without a sign


@dataclass(frozen=True)
class ColumnRuns:
    """Runs in COCO's order: columns from left to right, each from top to bottom. A run never continues in the next column.

    height, width: of the class map, in pixels. starts: int32 (N,), or int64 for 2^31 pixels and more, index of each run's first
    pixel in that order. ids: uint8 (N,), class ids.
    """

    height: int
    width: int
    starts: Integers
    ids: Pixels

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ends(self) -> Integers:
        return np.append(self.starts[1:], self.starts.dtype.type(self.height * self.width))


def column_runs(class_map: Pixels) -> ColumnRuns:
    """The runs of a class map, uint8 (H, W)."""
    height, width = class_map.shape
    index = np.int32 if class_map.size <= np.iinfo(np.int32).max else np.int64
    starts = []
    ids = []
    columns_at_once = max(1, BAND_PIXELS // height)
    for left in range(0, width, columns_at_once):
        # Pillow transposes several times faster than NumPy copies a transposed array
        band = Image.fromarray(class_map[:, left : left + columns_at_once]).transpose(Image.Transpose.TRANSPOSE)
        pixels = np.asarray(band).reshape(-1)
        begins = np.empty(pixels.size, np.bool_)
        np.not_equal(pixels[1:], pixels[:-1], out=begins[1:])
        begins[::height] = True
        positions = np.flatnonzero(begins)
        ids.append(pixels[positions])
        starts.append((positions + left * height).astype(index))
    return ColumnRuns(height, width, np.concatenate(starts), np.concatenate(ids))


def coco_counts(starts: Integers, ends: Integers, height: int, width: int) -> str:
    """COCO's compressed counts of the pixels in these runs. Raises `AnswerTooLarge` for 2^32 pixels and more.

    A run that ends at the bottom of a column is joined with a run that starts at the top of the next one.
    """
    if height * width > LARGEST_COUNT:  # pycocotools would wrap around without a word
        raise AnswerTooLarge(f"COCO's run lengths hold {LARGEST_COUNT} pixels, the image has {height * width}; cut it")
    if not len(starts):
        edges = np.zeros(0, np.int64)
    else:
        continues = starts[1:] == ends[:-1]
        edges = np.column_stack([starts[np.r_[True, ~continues]], ends[np.r_[~continues, True]]]).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    counts = counts if counts[-1] else counts[:-1]
    text: bytes = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return text.decode()


def encode_rle(runs: ColumnRuns, ids: Iterable[int]) -> dict[str, str]:
    """For each id, the compressed RLE of its pixels.

    `pycocotools.mask.decode` reads it, given the class map's [height, width] as `size`.
    """
    ends = runs.ends
    indices_of = {id: np.flatnonzero(runs.ids == id) for id in ids}
    return {
        str(id): coco_counts(runs.starts[indices], ends[indices], runs.height, runs.width) for id, indices in indices_of.items()
    }


def read_counts(counts: str | Sequence[int], size: tuple[int, int]) -> Lengths:
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


def paint_runs(mask: npt.NDArray[np.generic], lengths: Lengths, value: int) -> None:
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


def _from_numbers(counts: Sequence[int]) -> Lengths:
    if not all(isinstance(count, int | float) and not isinstance(count, bool) and count == count // 1 for count in counts):
        raise ValueError(f"run lengths are whole numbers, got {str(counts)[:60]}")
    if any(abs(count) > 1 << 40 for count in counts):
        raise ValueError(f"run lengths are far longer than an image: {str(counts)[:60]}")
    return np.array(counts, np.int64).reshape(-1)


def _parse(text: str) -> Lengths:
    """The numbers of a compressed string. From the fourth on, each is stored as the difference to the number two before it."""
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - FIRST
    last = np.flatnonzero((codes & MORE) == 0)
    sizes = np.diff(last, prepend=-1)
    complete = last.size > 0 and last[-1] == codes.size - 1 and int(sizes.max()) <= LONGEST
    if not complete or int(codes.min()) < 0 or int(codes.max()) >= 2 * MORE:
        raise ValueError(f"not a run-length encoding: {text[:40]!r}")
    first = last - sizes + 1
    place = BITS * (np.arange(codes.size) - np.repeat(first, sizes))
    numbers: Lengths = np.add.reduceat((codes & (MORE - 1)) << place, first)
    negative = (codes[last] & (MORE >> 1)) > 0
    numbers -= np.where(negative, 1 << BITS * sizes, 0)
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers
