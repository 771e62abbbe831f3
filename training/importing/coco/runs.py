"""Writes masks as the run lengths of COCO, whose order is down the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

Mask = npt.NDArray[np.bool_]


def encode_part(part: Mask, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The compressed run lengths, as COCO's `segmentation`, of an image that shows a part at a corner (x, y) alone."""
    left, top = corner
    height, width = size
    inside = part[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    rows, columns = inside.shape
    by_column = np.zeros((columns, rows + 2), bool)
    by_column[:, 1:-1] = inside.T
    # in columns, where runs inside the part begin, and where they end, alternately
    column, row = np.nonzero(by_column[:, 1:] != by_column[:, :-1])
    edges = (column + max(0, left)) * height + row + max(0, top)
    return _compressed(np.diff(edges, prepend=0, append=height * width).tolist(), size)


def encode_whole(mask: Mask) -> dict[str, Any]:
    """The compressed run lengths of a mask (H, W), as COCO's `segmentation`."""
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return _compressed([height * width], mask.shape)
    top, left = int(rows[0]), int(columns[0])
    return encode_part(mask[top : rows[-1] + 1, left : columns[-1] + 1], (left, top), (height, width))


def _compressed(lengths: list[int], size: tuple[int, ...]) -> dict[str, Any]:
    height, width = size
    rle = run_lengths.frPyObjects({"counts": lengths, "size": [height, width]}, height, width)
    return {"counts": rle["counts"].decode("ascii"), "size": [height, width]}
