"""The connected regions of one class, as run lengths in COCO's order: columns from the left, each from the top."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Region:
    """One region: COCO's compressed counts over the whole image, its pixels, and its box [x, y, width, height]."""

    counts: str
    pixels: int
    bbox: tuple[int, int, int, int]


def find_regions(inside: npt.NDArray[np.bool_], check: Callable[[], None] = lambda: None) -> Iterator[Region]:
    """The 4-connected regions of a mask (H, W), by their first pixel in COCO's order.

    Pixels that touch at a corner alone are of two regions, as in `polygons.trace`. Time and memory grow with the number of
    runs, not with regions times pixels. `check` is called for each region, and ends the work by raising.
    """
    height, width = inside.shape
    starts, ends = _runs(inside)
    region = _label(starts, ends, height + 1)
    order = np.argsort(region, kind="stable")
    starts, ends = starts[order], ends[order]
    first = np.flatnonzero(np.diff(region[order], prepend=-1))
    del region, order
    columns = starts // (height + 1)
    top = starts - columns * (height + 1) - 1
    starts, ends = starts - columns - 1, ends - columns - 1  # without the gap above each column
    if not first.size:
        return
    pixels = np.add.reduceat(ends - starts, first).tolist()
    lefts, rights = np.minimum.reduceat(columns, first).tolist(), np.maximum.reduceat(columns, first).tolist()
    tops, bottoms = np.minimum.reduceat(top, first).tolist(), np.maximum.reduceat(top + ends - starts, first).tolist()
    bounds = [*first.tolist(), starts.size]
    del columns, top
    for index, area in enumerate(pixels):
        check()
        span = slice(bounds[index], bounds[index + 1])
        box = lefts[index], tops[index], rights[index] - lefts[index] + 1, bottoms[index] - tops[index]
        yield Region(_compress(starts[span], ends[span], height, width), area, box)


def _runs(inside: npt.NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Start and end of each run of a column, counted over columns that have one pixel more, a gap above the first."""
    height, width = inside.shape
    flat = np.zeros((height + 1) * width + 1, np.bool_)
    flat[:-1].reshape(width, height + 1)[:, 1:] = inside.T
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return edges[::2], edges[1::2]


def _label(starts: Integers, ends: Integers, stride: int) -> Integers:
    """For each run, the first run of its region: runs of neighbouring columns are connected where they share a row."""
    first = np.searchsorted(ends, starts - stride, "right")
    count = np.searchsorted(starts, ends - stride, "left") - first
    right = np.repeat(np.arange(starts.size), count)
    left = np.arange(right.size) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    label = np.arange(starts.size)
    while right.size:
        # each root takes the least root that it touches, then every run its root's; roots at least halve in a few rounds
        one, other = label[left], label[right]
        apart = one != other
        if not apart.any():
            break
        left, right, one, other = left[apart], right[apart], one[apart], other[apart]
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        while (label[label] != label).any():
            label = label[label]
    return label


def _compress(starts: Integers, ends: Integers, height: int, width: int) -> str:
    """COCO's counts of these runs; a run that goes on at the top of the next column is one with it."""
    goes_on = starts[1:] == ends[:-1]
    starts, ends = starts[np.r_[True, ~goes_on]], ends[np.r_[~goes_on, True]]
    edges = np.column_stack([starts, ends]).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    counts = counts if counts[-1] else counts[:-1]
    text: bytes = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return text.decode()
