"""Finds the connected regions of a class map from its column runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from common.arrays import Ids, Integers, Mask
from imaging.errors import AnswerTooLarge
from imaging.runs import ColumnRuns, coco_counts

MASK_BYTES, POLYGON_BYTES, SHARED_BYTES = (100, 1000), (500, 2800), (2000, 2800)
"""Upper bounds of memory in bytes, for (a border, a region), when regions are written as run lengths, as polygons, and as
polygons that share their borders."""
MOST_SHARED_BORDERS = 100_000
"""The limit of borders for polygons that share theirs: time grows with the square of the holes of one region."""
ADVICE = "ask for format=json with mask=rle, or format=png"


@dataclass(frozen=True)
class ClassRegion:
    """A connected region of one class.

    id: class id. counts: COCO's compressed counts over the whole image. pixels: number of pixels. bbox: (x, y, width, height)
    in pixels.
    """

    id: int
    counts: str
    pixels: int
    bbox: tuple[int, int, int, int]


def most_borders(pixels: int) -> int:
    """The limit of borders in a class map of this many pixels, for answers that consist of regions.

    A border lies between two neighbouring pixels of different classes. Class maps of photographs have at most one border for
    every 50 pixels.
    """
    return min(500_000, 20_000 + pixels // 4)


def most_regions(pixels: int) -> int:
    """The limit of regions in a class map of this many pixels, for answers that consist of regions."""
    return min(50_000, 1000 + pixels // 16)


def region_bytes(size: tuple[int, int], polygons: bool, *, shares_borders: bool = False) -> int:
    """Upper bound, in bytes, of the memory for the regions of a class map of this (height, width) and for their answer.

    shares_borders: whether the polygons share their borders.
    """
    border, region = (SHARED_BYTES if shares_borders else POLYGON_BYTES) if polygons else MASK_BYTES
    pixels = size[0] * size[1]
    borders = min(most_borders(pixels), MOST_SHARED_BORDERS) if shares_borders else most_borders(pixels)
    outline = 2 * sum(size) * POLYGON_BYTES[0] if polygons else 0  # polygons follow the edge of the image, too
    return border * borders + region * most_regions(pixels) + outline


class Regions:
    """The 4-connected regions of these classes, ordered by class id, then by first pixel in COCO's order.

    COCO's order: columns from left to right, each from top to bottom. Pixels that touch only at a corner belong to different
    regions. Time and memory grow with the number of runs of equal pixels in columns. Raises `AnswerTooLarge` beyond
    `most_borders` or `most_regions`, with this advice.
    """

    def __init__(self, runs: ColumnRuns, ids: Iterable[int], advice: str = ADVICE) -> None:
        pixels = runs.height * runs.width
        check_borders(len(runs) - runs.width, pixels, advice)
        self.height, self.width = runs.height, runs.width
        self._starts, self._ends, run_ids = runs.starts.astype(np.int64), runs.ends.astype(np.int64), runs.ids
        mask = np.isin(run_ids, np.fromiter(ids, np.uint8))
        left, right = self._adjacent_runs(mask)
        same_class = run_ids[left] == run_ids[right]
        roots = component_roots(len(run_ids), left[same_class], right[same_class])
        order = np.flatnonzero(mask)
        self._order = order[np.lexsort((order, roots[order], run_ids[order]))]  # the runs of these classes, region by region
        roots = roots[self._order]
        self._first = np.flatnonzero(np.diff(roots, prepend=-1))  # position in `_order` of each region's first run
        self.ids: list[int] = run_ids[self._order[self._first]].tolist()
        if len(self) > (most := most_regions(pixels)):
            raise AnswerTooLarge(f"the class map has {len(self):,} regions, and at most {most:,} are handled; {advice}")
        self._region = np.full(len(run_ids), -1)  # of each run; -1 for runs of other classes
        self._region[self._order] = np.repeat(np.arange(len(self)), np.diff(self._first, append=len(self._order)))

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, pixels: Integers) -> Integers:
        """The region index of each pixel, -1 for pixels of other classes. Pixels are counted row by row."""
        rows, columns = np.divmod(pixels, self.width)
        regions: Integers = self._region[np.searchsorted(self._starts, columns * self.height + rows, "right") - 1]
        return regions

    @property
    def pixels(self) -> Integers:
        """The number of pixels of each region."""
        runs = self._order
        return np.add.reduceat(self._ends[runs] - self._starts[runs], self._first) if len(self) else np.zeros(0, np.int64)

    def totals(self, values: Ids) -> Integers:
        """The sum of these values, uint8 (H, W), over the pixels of each region."""
        columns = np.asarray(Image.fromarray(values).transpose(Image.Transpose.TRANSPOSE)).reshape(-1)
        of_runs = np.add.reduceat(columns, self._starts, dtype=np.int64)
        return np.add.reduceat(of_runs[self._order], self._first) if len(self) else np.zeros(0, np.int64)

    @property
    def first_pixels(self) -> Integers:
        """The first pixel of each region, counted in COCO's order."""
        return self._starts[self._order[self._first]]

    @property
    def at_edge(self) -> Mask:
        """Whether each region has a pixel at an edge of the image."""
        starts, ends = self._starts, self._ends
        edge = (starts < self.height) | (starts >= self.height * (self.width - 1))
        edge |= (starts % self.height == 0) | (ends % self.height == 0)
        regions = np.zeros(len(self), np.bool_)
        regions[self._region[edge & (self._region >= 0)]] = True
        return regions

    def neighbours(self) -> Integers:
        """The pairs of regions that share a border, int64 (N, 2): each pair once, the lower index first, in ascending order."""
        left, right = self._adjacent_runs(self._region >= 0)
        below = np.flatnonzero(self._starts[1:] % self.height)  # runs that are followed by another one in their column
        first, second = self._region[np.r_[left, below]], self._region[np.r_[right, below + 1]]
        differs = (first != second) & (first >= 0) & (second >= 0)
        first, second = first[differs], second[differs]
        keys = np.unique(np.minimum(first, second) * len(self) + np.maximum(first, second))
        return np.column_stack(np.divmod(keys, max(1, len(self))))

    def to_map(self, values: Ids) -> Ids:
        """A map, uint8 (H, W), with the value of each pixel's region; 0 for pixels of other classes. values: uint8 (N,)."""
        of_runs = np.append(values, np.uint8(0))[self._region]  # -1, the region of other classes, is the last one
        columns = np.repeat(of_runs, self._ends - self._starts).reshape(self.width, self.height)
        return np.asarray(Image.fromarray(columns).transpose(Image.Transpose.TRANSPOSE))

    def masks(self) -> Iterator[ClassRegion]:
        """Yields each region."""
        if not len(self):
            return
        starts, ends = self._starts[self._order], self._ends[self._order]
        columns, tops = np.divmod(starts, self.height)
        pixels = self.pixels.tolist()
        left, right = np.minimum.reduceat(columns, self._first), np.maximum.reduceat(columns, self._first)
        top, bottom = np.minimum.reduceat(tops, self._first), np.maximum.reduceat(tops + ends - starts, self._first)
        boxes = np.column_stack([left, top, right - left + 1, bottom - top]).tolist()
        del columns, tops
        bounds = [*self._first.tolist(), len(starts)]
        for index, id in enumerate(self.ids):
            runs = slice(bounds[index], bounds[index + 1])
            yield ClassRegion(
                id, coco_counts(starts[runs], ends[runs], self.height, self.width), pixels[index], tuple(boxes[index])
            )

    def _adjacent_runs(self, mask: Mask) -> tuple[Integers, Integers]:
        """Pairs of runs that share a row, in neighbouring columns: left and right. mask: which runs may be on the right."""
        starts, ends = self._starts, self._ends
        # for each run: the first run that touches it in the column before, and the number of runs that do
        first = np.maximum(np.searchsorted(starts, starts - self.height, "right") - 1, 0)
        count = np.searchsorted(starts, ends - self.height, "left") - first
        count[(starts < self.height) | ~mask] = 0
        right = np.repeat(np.arange(len(starts)), count)
        left = np.arange(len(right)) + np.repeat(first - np.cumsum(count) + count, count)
        return left, right


def check_borders(borders: int, pixels: int, advice: str = ADVICE) -> None:
    """Raises `AnswerTooLarge` for more borders than `most_borders` allows in a class map of this many pixels."""
    if borders > (most := most_borders(pixels)):
        raise AnswerTooLarge(f"the class map has {borders:,} borders between classes; at most {most:,} are handled; {advice}")


def component_roots(count: int, left: Integers, right: Integers) -> Integers:
    """For each of `count` nodes, int64 (count,), the first node of its component. left, right: the ends of each edge."""
    roots = np.arange(count)
    while len(right):
        # Each root takes the least root that it touches; then each node takes its root's root. The number of roots at least
        # halves in a few rounds.
        left_roots, right_roots = roots[left], roots[right]
        differs = left_roots != right_roots
        if not differs.any():
            break
        left, right, left_roots, right_roots = left[differs], right[differs], left_roots[differs], right_roots[differs]
        np.minimum.at(roots, np.maximum(left_roots, right_roots), np.minimum(left_roots, right_roots))
        while (roots[roots] != roots).any():
            roots = roots[roots]
    return roots
