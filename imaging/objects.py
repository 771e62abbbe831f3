"""Finds the objects of a class map that comes a few rows at a time: connected regions of one class, as polygons with holes.

Once no later row can add to an object, the object is complete, and the finder keeps nothing of it. So memory grows with the
objects that reach the last row, and not with the objects of the scene. Of an object's shape the finder keeps the corners alone,
the points at which the border turns. In each row and each column of points, straight borders join the first corner to the
second, the third to the fourth, and so on. So the corners are enough to draw the rings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import shapely

from common.arrays import Floats, Geometries, Ids, Integers, Integers16, Mask
from imaging.regions import component_roots

OUTSIDE = 256  # the class of the pixels beyond the map's edges
ROW, COLUMN, HORIZONTAL, VERTICAL, REGION = range(5)
"""Columns of an array of corners: the point, the directions of the border from there (0 left, 1 right; 0 up, 1 down), and the
index of the region."""
NONE = 2
"""No direction. A node (`ObjectFinder`) is two corners at one point: the border leaves each in a single direction."""
OBJECTS_AT_ONCE = 100  # whose polygons are made in one step
DIGITS = 4  # decimals of area and confidence in properties
STEP_PIXELS = 1 << 20  # of the class map in one step
Part = tuple[Ids, Floats, Ids | None]
"""The arguments of `ObjectFinder.add`: rows of a class map, their pixels' areas, and their pixels' confidence."""


@dataclass(frozen=True)
class MapObject:
    """A 4-connected region of one class.

    polygon: with holes, along the sides of pixels; x runs right and y down from the scene's upper left corner, in pixels.
    pixels: the number of pixels. square_metres: the area of the pixels. confidence: the mean confidence of the pixels, 0 to 1;
    None if it is not known.
    """

    id: int
    polygon: shapely.Polygon
    pixels: int
    square_metres: float
    confidence: float | None

    def properties(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The properties of the object's feature: class, area and confidence. names: of the classes, by id."""
        confidence = None if self.confidence is None else round(self.confidence, DIGITS)
        area = round(self.square_metres, DIGITS)
        return {"class_id": self.id, "class": names[self.id], "area_m2": area, "confidence": confidence}


@dataclass(eq=False)
class _Item:
    """The known part of an object. confidence: the sum of 255 x probability. corners: arrays (N, 4) of `ROW` to `VERTICAL`."""

    id: int
    pixels: int = 0
    square_metres: float = 0.0
    confidence: int = 0
    corners: list[Integers] = field(default_factory=list)

    def add(self, other: _Item) -> None:
        self.pixels += other.pixels
        self.square_metres += other.square_metres
        self.confidence += other.confidence
        self.corners += other.corners


class ObjectFinder:
    """Takes rows from top to bottom, and yields each object once it is complete. For one thread.

    ids: the classes whose objects are wanted. with_nodes: whether a polygon also has a point on a straight border where two
    other classes meet (a node), so that neighbouring polygons have the same points. valid: whether rings are simple. If not,
    and two pixels of an object touch at a corner alone, the ring goes around each of the two pixels there.
    """

    def __init__(self, width: int, ids: Collection[int], *, with_nodes: bool = False, valid: bool = True) -> None:
        self._width, self._with_nodes, self._valid = width, with_nodes, valid
        self._is_object = np.zeros(OUTSIDE + 1, np.bool_)
        self._is_object[list(ids)] = True
        self._row, self._has_confidence = 0, False
        self._last = np.full(width, OUTSIDE, np.int16)  # the classes of the last row
        # the incomplete object of each run of equal pixels of the last row, left to right; None for classes without objects
        self._open: list[_Item | None] = []

    def add(self, ids: Ids, square_metres: Floats, confidence: Ids | None = None) -> Iterator[MapObject]:
        """Takes the class ids of the next rows, uint8 (rows, width), and yields the objects that they complete.

        square_metres: of each pixel, float64 (rows, width) or (rows, 1). confidence: round(255 x probability) of each pixel.
        """
        self._has_confidence = confidence is not None
        step = max(1, STEP_PIXELS // self._width)
        for top in range(0, len(ids), step):
            part = slice(top, top + step)
            part_confidence = None if confidence is None else confidence[part]
            yield from self._with_polygons(self._add(ids[part].astype(np.int16), square_metres[part], part_confidence))

    def finish(self) -> Iterator[MapObject]:
        """Yields the objects that reach the last row."""
        outside = np.full((1, self._width), OUTSIDE, np.int16)
        yield from self._with_polygons(self._add(outside, np.zeros((1, 1)), None))

    def _add(self, rows: Integers16, square_metres: Floats, confidence: Ids | None) -> Iterator[_Item]:
        """Takes rows as `add`. Yields the objects that they complete."""
        classes = np.concatenate([self._last[None], rows])
        starts = _run_starts(classes)
        regions = self._regions(classes, starts)
        count = int(regions.max()) + 1
        totals = self._totals(starts, regions, count, square_metres, confidence)
        corners, bounds = self._corners(classes, starts, regions, count)
        class_ids = np.empty(count, np.int64)  # of each region
        class_ids[regions] = classes.reshape(-1)[starts]
        open_parts: dict[int, dict[_Item, None]] = {}  # by region: the incomplete objects that are a part of it, each once
        for region, item in zip(regions[: len(self._open)].tolist(), self._open, strict=True):
            if item is not None:
                open_parts.setdefault(region, {})[item] = None
        last_regions = regions[int(np.searchsorted(starts, len(rows) * self._width)) :].tolist()  # of the last row's runs
        open_items: dict[int, _Item | None] = dict.fromkeys(last_regions)  # by region; None for a class without objects
        for region in np.flatnonzero(self._is_object[class_ids]).tolist():
            pixels, area, confidence_sum = totals[:, region].tolist()
            own = corners[bounds[region] : bounds[region + 1]]
            item = _Item(int(class_ids[region]), int(pixels), area, int(confidence_sum), [own])
            for other in open_parts.get(region, ()):
                item.add(other)
            if region in open_items:
                open_items[region] = item
            else:
                yield item
        self._open = [open_items[region] for region in last_regions]
        self._last = classes[-1]
        self._row += len(rows)

    def _with_polygons(self, items: Iterator[_Item]) -> Iterator[MapObject]:
        while batch := list(islice(items, OBJECTS_AT_ONCE)):
            polygons = outlines([np.concatenate(item.corners) for item in batch], valid=self._valid)
            for item, polygon in zip(batch, polygons, strict=True):
                confidence = item.confidence / (255 * item.pixels) if self._has_confidence else None
                yield MapObject(item.id, polygon, item.pixels, item.square_metres, confidence)

    def _regions(self, classes: Integers16, starts: Integers) -> Integers:
        """The region of each run, counted from 0. Runs are of one region if they touch along a side, or are of one object."""
        width = classes.shape[1]
        flat = classes.reshape(-1)
        # pixels in which a run may touch the one above: the first pixels of runs, and the pixels below them
        lower = np.concatenate([starts[starts >= width], starts[starts < flat.size - width] + width])
        lower = lower[flat[lower] == flat[lower - width]]
        neighbours = np.column_stack([_run_of(starts, lower - width), _run_of(starts, lower)])
        # each run of an incomplete object, with the first run of this object; the runs of `_open` are the first in `starts`
        first_runs: dict[_Item, int] = {}
        same_object = [(first_runs.setdefault(item, run), run) for run, item in enumerate(self._open) if item is not None]
        pairs = np.concatenate([neighbours, np.array(same_object, np.int64).reshape(-1, 2)])
        roots = component_roots(len(starts), *pairs.T)
        regions: Integers = np.unique(roots, return_inverse=True)[1].reshape(-1)
        return regions

    def _totals(self, starts: Integers, regions: Integers, count: int, square_metres: Floats, confidence: Ids | None) -> Floats:
        """The pixels, square metres and sum of confidences of each region in the new rows, float64 (3, regions)."""
        width = self._width
        first_run = int(np.searchsorted(starts, width))  # of the new rows
        starts, regions = starts[first_run:] - width, regions[first_run:]
        lengths = np.diff(starts, append=len(square_metres) * width)
        if square_metres.shape[1] == 1:
            areas = lengths * square_metres[starts // width, 0]
        else:
            areas = np.add.reduceat(square_metres.reshape(-1), starts)
        sums = np.zeros(len(starts), np.int64)
        if confidence is not None:
            sums = np.add.reduceat(confidence.reshape(-1), starts, dtype=np.int64)
        return np.array([np.bincount(regions, each, count) for each in (lengths, areas, sums)])

    def _corners(self, classes: Integers16, starts: Integers, regions: Integers, count: int) -> tuple[Integers, Integers]:
        """The corners on the upper sides of the new rows, int64 (N, 4), sorted by region; and the bounds of the regions.

        bounds: int64 (count + 1,). The corners of region r are those from index bounds[r] to before bounds[r + 1].
        """
        classes = np.pad(classes, ((0, 0), (1, 1)), constant_values=OUTSIDE)
        # the pixels to the upper left, upper right, lower left and lower right of each point
        around = [classes[r : len(classes) - 1 + r, c : classes.shape[1] - 1 + c] for r in (0, 1) for c in (0, 1)]
        points = np.flatnonzero((around[0] != around[1]) | (around[0] != around[2]) | (around[0] != around[3]))
        rows, columns = np.divmod(points, self._width + 1)
        values = [each[rows, columns] for each in around]
        corners, owners = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.int64)]
        for kind in _corner_kinds(values, with_nodes=self._with_nodes):
            at = np.flatnonzero(kind.is_here & self._is_object[values[kind.pixel]])
            own = np.empty((len(at), 4), np.int64)
            own[:, ROW], own[:, COLUMN] = rows[at] + self._row, columns[at]
            own[:, HORIZONTAL], own[:, VERTICAL] = kind.horizontal, kind.vertical
            corners.append(own)
            down, right = divmod(kind.pixel, 2)
            owners.append(regions[_run_of(starts, (rows[at] + down) * self._width + columns[at] - 1 + right)])
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        return np.concatenate(corners)[order], np.searchsorted(owner[order], np.arange(count + 1))


class _CornerKind(NamedTuple):
    """One shape of a corner, or of half a node.

    is_here: bool (points,), whether a point has one. pixel: a pixel of the corner's region, among the four around a point: 0
    upper left, 1 upper right, 2 lower left, 3 lower right. horizontal, vertical: the directions of the border from the point.
    """

    is_here: Mask
    pixel: int
    horizontal: int
    vertical: int


def _corner_kinds(values: Sequence[Integers16], *, with_nodes: bool) -> Iterator[_CornerKind]:
    """Yields all kinds. values: the classes of the four pixels around each point, in the order of `_CornerKind.pixel`."""
    for pixel, own in enumerate(values):
        # the lower bit of a pixel's number is its column, the higher bit its row
        beside, across, opposite = values[pixel ^ 1], values[pixel ^ 2], values[pixel ^ 3]
        vertical, horizontal = divmod(pixel, 2)  # the border leads along two sides of this pixel
        yield _CornerKind((own != beside) & (own != across), pixel, horizontal, vertical)  # a corner of this pixel's region
        # a corner of the region of the three other pixels, around this pixel
        yield _CornerKind((own != beside) & (beside == across) & (beside == opposite), pixel ^ 1, horizontal, vertical)
        if with_nodes and pixel in (0, 3):
            # a node: this pixel and its neighbour in the row (column) are of one class, the two others of two more classes
            is_row = (own == beside) & (across != own) & (opposite != own) & (across != opposite)
            is_column = (own == across) & (beside != own) & (opposite != own) & (beside != opposite)
            for side in (0, 1):
                yield _CornerKind(is_row, pixel, side, NONE)
                yield _CornerKind(is_column, pixel, NONE, side)


def outlines(regions: Sequence[Integers], *, valid: bool) -> Geometries:
    """The polygons of regions. Each outer ring begins at the leftmost corner of its top row.

    regions: the corners of each region, int64 (N, 4). valid: as for `ObjectFinder`.
    """
    owners = np.repeat(np.arange(len(regions)), [len(each) for each in regions])
    corners = np.column_stack([np.concatenate(regions), owners])
    # the most important key is the last one
    corners = corners[np.lexsort([corners[:, key] for key in (VERTICAL, HORIZONTAL, COLUMN, ROW, REGION)])]
    if valid:
        _make_simple(corners)
    in_row = _partners(corners, HORIZONTAL, (HORIZONTAL, COLUMN, ROW, REGION))
    in_column = _partners(corners, VERTICAL, (VERTICAL, ROW, COLUMN, REGION))
    order, starts = _cycles(in_row.tolist(), in_column.tolist())
    corners = corners[order]
    points = corners[:, [COLUMN, ROW]].astype(np.float64)
    lengths = np.diff(starts, append=len(points))
    previous = np.arange(len(points)) - 1  # the index of the point before each point in its ring
    previous[starts] += lengths
    is_new = (points != points[previous]).any(1)  # false for the second half of a node
    rings = shapely.linearrings(points[is_new], indices=np.repeat(np.arange(len(starts)), lengths)[is_new])
    polygons: Geometries = shapely.polygons(rings, indices=corners[starts, REGION])
    return polygons


def _make_simple(corners: Integers) -> None:
    """Changes the corners where two pixels of a region touch at a point alone, so that rings do not cross themselves.

    The border passes such a point twice, so the point has two corners. Before, each corner is around one of the two pixels of
    the region. Afterwards, each is around one of the two other pixels. corners: in the order of region, row and column.
    """
    is_turn = (corners[:, [HORIZONTAL, VERTICAL]] != NONE).all(1)
    points = corners[:, [REGION, ROW, COLUMN]]
    is_double = (points[1:] == points[:-1]).all(1) & is_turn[1:] & is_turn[:-1]
    at = np.flatnonzero(is_double)
    corners[at, VERTICAL], corners[at + 1, VERTICAL] = corners[at + 1, VERTICAL], corners[at, VERTICAL].copy()


def _partners(corners: Integers, direction: int, keys: Sequence[int]) -> Integers:
    """For each corner, the index of the corner at the other end of its straight border in a direction.

    For half a node without a border in this direction, the index of the other half. direction: `HORIZONTAL` or `VERTICAL`.
    keys: the columns of `corners` by which to sort, the most important last; partners are then neighbours.
    """
    partners = np.empty(len(corners), np.int64)
    for index in (np.flatnonzero(corners[:, direction] != NONE), np.flatnonzero(corners[:, direction] == NONE)):
        order = index[np.lexsort([corners[index, key] for key in keys])]
        partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    return partners


def _cycles(in_row: list[int], in_column: list[int]) -> tuple[Integers, Integers]:
    """The rings, as the indices of their corners, ring after ring; and the position of each ring's first corner.

    in_row, in_column: each corner's partner in its row, and in its column. A ring goes to a partner in the row, then to a
    partner in the column, and so on. It begins with the first corner that no earlier ring has.
    """
    order, starts = list[int](), list[int]()
    is_open = bytearray(b"\1" * len(in_row))  # 0 once a ring has the corner
    first = is_open.find(1)
    while first >= 0:
        starts.append(len(order))
        corner = first
        while is_open[corner]:
            other = in_row[corner]
            is_open[corner] = is_open[other] = 0
            order += (corner, other)
            corner = in_column[other]
        first = is_open.find(1, first)
    return np.array(order, np.int64), np.array(starts, np.int64)


def _run_starts(classes: Integers16) -> Integers:
    """The flat indices of the first pixels of runs: a run is a row's neighbouring pixels of one class."""
    is_start = np.ones(classes.shape, np.bool_)
    np.not_equal(classes[:, 1:], classes[:, :-1], out=is_start[:, 1:])
    return np.flatnonzero(is_start)


def _run_of(starts: Integers, pixels: Integers) -> Integers:
    """The index of the run that has each pixel. starts, pixels: flat indices."""
    runs: Integers = np.searchsorted(starts, pixels, "right") - 1
    return runs
