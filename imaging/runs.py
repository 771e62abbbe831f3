"""Runs of equal pixels in a class map's columns, and COCO's run-length encoding of them.

Regions, run lengths and boxes are computed from runs. In COCO's order pixels are ordered by columns from left to right, each
from top to bottom. Its run lengths are those outside and inside a class, in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from common.arrays import Pixels
from imaging.errors import AnswerTooLarge

Positions = npt.NDArray[np.signedinteger]
BAND_PIXELS = 1 << 20
LARGEST_COUNT = (1 << 32) - 1  # of pycocotools, whose counts are 32 bits without a sign


@dataclass(frozen=True)
class ColumnRuns:
    """Runs in COCO's order: columns from left to right, each from top to bottom. A run never continues in the next column.

    height, width: of the class map, in pixels. starts: int32 (N,), or int64 for 2^31 pixels and more, index of each run's first
    pixel in that order. ids: uint8 (N,), class ids.
    """

    height: int
    width: int
    starts: Positions
    ids: Pixels

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ends(self) -> Positions:
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


def coco_counts(starts: Positions, ends: Positions, height: int, width: int) -> str:
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
