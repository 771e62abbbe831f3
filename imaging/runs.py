"""The runs of equal pixels in a class map's columns, which regions, run lengths and boxes are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.signedinteger]
BAND_PIXELS = 1 << 20


@dataclass(frozen=True)
class ColumnRuns:
    """Runs in COCO's order: columns from the left, each from the top; no run goes on in the next column.

    starts: int32 (N,), of pixels counted in that order. ids: uint8 (N,), class ids.
    """

    height: int
    width: int
    starts: npt.NDArray[np.int32]
    ids: Pixels

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ends(self) -> npt.NDArray[np.int32]:
        return np.append(self.starts[1:], np.int32(self.height * self.width))


def column_runs(class_map: Pixels) -> ColumnRuns:
    """The runs of a class map, uint8 (H, W) of up to 2^31 pixels."""
    height, width = class_map.shape
    starts = []
    ids = []
    columns_at_once = max(1, BAND_PIXELS // height)
    for left in range(0, width, columns_at_once):
        # Pillow transposes several times as fast as numpy copies
        band = Image.fromarray(class_map[:, left : left + columns_at_once]).transpose(Image.Transpose.TRANSPOSE)
        pixels = np.asarray(band).reshape(-1)
        begins = np.empty(pixels.size, np.bool_)
        np.not_equal(pixels[1:], pixels[:-1], out=begins[1:])
        begins[::height] = True
        positions = np.flatnonzero(begins)
        ids.append(pixels[positions])
        starts.append((positions + left * height).astype(np.int32))
    return ColumnRuns(height, width, np.concatenate(starts), np.concatenate(ids))


def coco_counts(starts: Integers, ends: Integers, height: int, width: int) -> str:
    """COCO's compressed counts of the pixels in these runs; a run that goes on at the top of the next column is one with it."""
    if not len(starts):
        edges = np.zeros(0, np.int64)
    else:
        goes_on = starts[1:] == ends[:-1]
        edges = np.column_stack([starts[np.r_[True, ~goes_on]], ends[np.r_[~goes_on, True]]]).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    counts = counts if counts[-1] else counts[:-1]
    text: bytes = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return text.decode()
