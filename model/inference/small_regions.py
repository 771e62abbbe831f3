"""Replaces small regions and small holes of a class map: each takes a class of its neighbours.

A region is a 4-connected area of one class. A hole is what one region encloses: the pixels from which no path of horizontal and
vertical steps leads to the edge of the image without crossing that region. It may contain several regions.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from common.arrays import Floats, Ids, Size
from imaging.regions import Regions, most_borders, most_regions
from imaging.runs import column_runs
from model.inference.tiling import TilePlan
from model.inference.upsampling import BAND_PIXELS, Indices, Rows

AREA_PATTERN = r"([0-9]{1,9}|(100(\.0{1,9})?|[0-9]{1,2}(\.[0-9]{1,9})?)%)"
"""A regular expression for the areas that `parse_area` takes."""
AREA_WORDS = "0 to 999999999 whole pixels, or 0% to 100% of the image with at most 9 decimals such as 0.1%"
BORDER_BYTES, REGION_BYTES = 80, 800  # upper bounds of memory for a border and for a region
ROW_BYTES = 45  # for a pixel of a band, to find the confidence of the new classes


@dataclass(frozen=True)
class Area:
    """An area in pixels, or in percent of the image if `percent`. 0 is off."""

    amount: Fraction = Fraction(0)
    percent: bool = False

    def pixels(self, image: int) -> int:
        """The least number of pixels that is not below this area, in an image of so many pixels."""
        return ceil(self.amount * image / 100 if self.percent else self.amount)

    def __str__(self) -> str:
        return f"{float(self.amount):.12g}" + "%" * self.percent


def parse_area(text: str) -> Area:
    """Parses a number of pixels (`200`) or a share of the image (`0.1%`); raises `ValueError`."""
    if not re.fullmatch(AREA_PATTERN, text):
        raise ValueError(f"an area must be {AREA_WORDS}, got {text!r}")
    return Area(Fraction(text.removesuffix("%")), percent=text.endswith("%"))


def without_small_regions(bands: Sequence[Rows], size: Size, min_area: int, fill_holes: int) -> Ids:
    """The class map, uint8 (height, width), without regions of less than `min_area` and holes of less than `fill_holes` pixels.

    bands: all rows of the image. The smallest region is replaced first; of equal ones, the one whose first pixel comes first in
    COCO's order. It takes the class of a neighbour, so that the two become one region: the class with the highest sum of logits
    over the region's pixels, which also has the highest product of probabilities; the lowest id among equals. This ends when no
    region is small, or when there is only one region. Then each small hole takes the class of the region around it. Raises
    `AnswerTooLarge` like `Regions`.
    """
    class_map = np.empty(size, np.uint8)
    for rows in bands:
        class_map[rows.pixel_rows] = rows.class_ids()
    regions = Regions(column_runs(class_map), range(256), "leave min_area and fill_holes out")
    graph = RegionGraph(regions)
    if graph.smallest < min_area:
        graph.merge_small(min_area, *_logit_sums(bands, regions, min_area))
    if fill_holes:
        graph.fill_holes(fill_holes)
    return regions.to_map(graph.ids)


def small_region_bytes(size: Size, tiles: TilePlan, classes: int, stride: int) -> int:
    """Upper bound, in bytes, of the memory that `without_small_regions` needs, with the cells of all bands."""
    rows, columns = tiles.cells(stride)
    pixels = size[0] * size[1]
    cells = 4 * classes * columns * (rows + len(tiles.tops))
    graph = BORDER_BYTES * most_borders(pixels) + (REGION_BYTES + 8 * classes) * most_regions(pixels)
    return cells + 4 * pixels + max(graph, ROW_BYTES * min(pixels, BAND_PIXELS + size[1]))


class RegionGraph:
    """The regions of a class map and their neighbours. Regions that get one class become one region. For one thread."""

    def __init__(self, regions: Regions) -> None:
        self._ids = list(regions.ids)
        self._pixels: list[int] = regions.pixels.tolist()
        self._first: list[int] = regions.first_pixels.tolist()
        self._at_edge: list[bool] = regions.at_edge.tolist()
        self._merged_into = list(range(len(regions)))
        self._neighbours: list[set[int]] = [set() for _ in self._ids]
        for left, right in regions.neighbours().tolist():
            self._neighbours[left].add(right)
            self._neighbours[right].add(left)

    @property
    def smallest(self) -> int:
        """The number of pixels of the smallest region."""
        return min(self._pixels)

    @property
    def ids(self) -> Ids:
        """The class of each region of the class map, uint8 (N,)."""
        return np.array([self._ids[self._root(region)] for region in range(len(self._ids))], np.uint8)

    def merge_small(self, min_area: int, sums: Floats, row_of: Indices) -> None:
        """Replaces the regions of less than `min_area` pixels. sums, row_of: as `_logit_sums` gives them."""
        rows: list[int] = row_of.tolist()
        small = [self._key(region) for region, row in enumerate(rows) if row >= 0]
        heapq.heapify(small)
        while small:
            key = heapq.heappop(small)
            region = key[2]
            if not self._neighbours[region] or key != self._key(region) or self._merged_into[region] != region:
                continue  # the only region, or one that has grown
            classes = sorted({self._ids[neighbour] for neighbour in self._neighbours[region]})
            best = classes[int(sums[rows[region], classes].argmax())]
            root = region
            for other in [n for n in self._neighbours[region] if self._ids[n] == best]:
                root, child = self._merge(root, other)
                if rows[root] >= 0 and rows[child] >= 0:
                    sums[rows[root]] += sums[rows[child]]
            self._ids[root] = best
            if self._pixels[root] < min_area:
                heapq.heappush(small, self._key(root))

    def fill_holes(self, most: int) -> None:
        """Gives each hole of less than `most` pixels the class of the region around it.

        In a depth-first search from outside the image, a subtree below a region is a hole of it if no region of the subtree
        has a neighbour above that region (Hopcroft and Tarjan 1973, Algorithm 447, articulation points).
        """
        outside = len(self._ids)
        at_edge = [region for region in range(outside) if self._at_edge[region] and self._merged_into[region] == region]
        neighbours = [*self._neighbours, set(at_edge)]
        for region in at_edge:
            neighbours[region].add(outside)
        parents, path = {outside: outside}, [(outside, iter(at_edge))]
        while path:
            parent, rest = path[-1]
            child = next((n for n in rest if n not in parents), None)
            if child is None:
                path.pop()
            else:
                parents[child] = parent
                path.append((child, iter(neighbours[child])))
        position = {region: index for index, region in enumerate(parents)}
        reach, pixels = dict(position), dict(enumerate([*self._pixels, 0]))
        for region, parent in reversed([*parents.items()][1:]):
            reach[region] = min([reach[region], *(position[n] for n in neighbours[region] if n != parent)])
            reach[parent] = min(reach[parent], reach[region])
            pixels[parent] += pixels[region]
        holes = set[int]()
        for region, parent in [*parents.items()][1:]:
            is_hole = parent != outside and reach[region] >= position[parent] and pixels[region] < most
            if is_hole or parent in holes:  # what a hole holds has become as the region around the hole
                holes.add(region)
                self._ids[region] = self._ids[parent]

    def _merge(self, one: int, other: int) -> tuple[int, int]:
        """Makes one region of two. Returns its index, the root, and the other index, the child."""
        root, child = sorted((one, other), key=lambda region: (-len(self._neighbours[region]), region))
        self._merged_into[child] = root
        self._pixels[root] += self._pixels[child]
        self._first[root] = min(self._first[root], self._first[child])
        self._at_edge[root] |= self._at_edge[child]
        for neighbour in self._neighbours[child]:
            self._neighbours[neighbour].discard(child)
            if neighbour != root:
                self._neighbours[neighbour].add(root)
                self._neighbours[root].add(neighbour)
        self._neighbours[child] = set()
        return root, child

    def _root(self, region: int) -> int:
        while (above := self._merged_into[region]) != region:
            self._merged_into[region] = self._merged_into[above]
            region = above
        return region

    def _key(self, region: int) -> tuple[int, int, int]:
        return self._pixels[region], self._first[region], region


def _logit_sums(bands: Sequence[Rows], regions: Regions, min_area: int) -> tuple[Floats, Indices]:
    """The sum of the logits over the pixels of each small region, float64 (small regions, classes); its row for each region.

    The row is -1 for the other regions.
    """
    small = regions.pixels < min_area
    row_of = np.where(small, np.cumsum(small) - 1, -1)
    sums = np.zeros((int(small.sum()), bands[0].cells.shape[2]))
    inside = regions.to_map(small.astype(np.uint8))
    width = inside.shape[1]
    for rows in bands:
        for positions, logits in rows.logits_at(np.flatnonzero(inside[rows.pixel_rows])):
            of_pixels = row_of[regions.at(positions + rows.top * width)]
            order = np.argsort(of_pixels, kind="stable")
            first = np.flatnonzero(np.diff(of_pixels[order], prepend=-1))
            sums[of_pixels[order[first]]] += np.add.reduceat(logits[order], first, 0, np.float64)
    return sums, row_of
