"""Decodes COCO's compressed run-length encoding.

It stores the run lengths of a mask column by column, each as the difference to the length two before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

BITS, MORE, SIGN, FIRST = 5, 0x20, 0x10, 48
LONGEST = 8
VOID = 255
Integers = npt.NDArray[np.int64]


def runs(text: str) -> Integers:
    """The run lengths in a string of COCO's `counts`, alternately outside and inside the mask. Raises `ValueError`."""
    chunks = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - FIRST
    last = np.flatnonzero((chunks & MORE) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    sizes = last - first + 1
    if not last.size or last[-1] != chunks.size - 1 or sizes.max() > LONGEST or chunks.min() < 0 or chunks.max() >= 2 * MORE:
        raise ValueError(f"not a run-length encoding: {text[:40]!r}")
    shifts = BITS * (np.arange(chunks.size) - np.repeat(first, sizes))
    lengths: Integers = np.add.reduceat((chunks & (MORE - 1)) << shifts, first)
    lengths -= np.where(chunks[last] & SIGN, 1 << BITS * sizes, 0)
    for parity in (1, 2):
        lengths[parity::2] = np.cumsum(lengths[parity::2])
    return lengths


def class_map(counts: Mapping[str, str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The class map, uint8 (H, W), given one string for each class id. Pixels of no class are 255.

    Raises `ValueError` for runs that overlap or do not add up to the image.
    """
    height, width = size
    inside = [_inside(id, runs(text), height * width) for id, text in counts.items()]
    spans = np.concatenate([np.empty((0, 3), np.int64), *inside])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    if (spans[1:, 0] < spans[:-1, 1]).any():
        raise ValueError("the runs of two classes overlap")
    edges = np.concatenate([[0], spans[:, :2].ravel(), [height * width]])
    values = np.full(edges.size - 1, VOID, np.uint8)
    values[1::2] = spans[:, 2]
    return np.ascontiguousarray(np.repeat(values, np.diff(edges)).reshape(width, height).T)


def _inside(id: str, lengths: Integers, pixels: int) -> Integers:
    """The runs inside the class, as rows of start, end and class id. `lengths`: alternately outside and inside."""
    if lengths.min() < 0 or lengths.sum() != pixels:
        raise ValueError(f"runs of class {id} cover {lengths.sum()} pixels, the image has {pixels}")
    if not 0 <= int(id) <= VOID:
        raise ValueError(f"a class id is 0 to {VOID}, got {id}")
    ends = np.cumsum(lengths)[1::2]
    return np.column_stack([ends - lengths[1::2], ends, np.full(ends.size, int(id))])
