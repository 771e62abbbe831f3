"""Finds the objects of a class map that comes a few rows at a time: connected regions of one class, as polygons with holes.

An object is finished once no row can add to it, and is then forgotten. So memory grows with the objects that reach the last
row, and not with those of the scene. Of an object only its corners are kept: the border of a region of pixels turns at each of
them, and runs straight between two corners of a row or a column, which it joins in pairs.
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

OUTSIDE = 256  # the class of what is beyond the edges
ROW, COLUMN, HORIZONTAL, VERTICAL, REGION = range(5)
"""Columns of an array of corners: the place, where the border leads (0 left, 1 right; 0 up, 1 down), and whose it is."""
NONE = 2  # where the border does not lead in a direction, as from each half of a node
OBJECTS_AT_ONCE = 100  # that become polygons
DIGITS = 4  # of areas and confidence in properties
STEP_PIXELS = 1 << 20  # that are looked at in one step
Part = tuple[Ids, Floats, Ids | None]
"""Rows of a class map, what their pixels measure, and their confidence, as `ObjectFinder.add` takes them."""


@dataclass(frozen=True)
class MapObject:
    """A 4-connected region of one class.

    polygon: with holes, along the sides of pixels; x runs right and y down from the scene's upper left corner, in pixels.
    pixels: their number. square_metres: their area. confidence: their mean confidence, 0 to 1; None if it is not known.
    """

    id: int
    polygon: shapely.Polygon
    pixels: int
    square_metres: float
    confidence: float | None

    def properties(self, names: Mapping[int, str]) -> dict[str, Any]:
        """What its feature says: class, area and confidence. names: of the classes, by id."""
        confidence = None if self.confidence is None else round(self.confidence, DIGITS)
        area = round(self.square_metres, DIGITS)
        return {"class_id": self.id, "class": names[self.id], "area_m2": area, "confidence": confidence}


@dataclass
class _Open:
    """What is known of an object that the next row may add to."""

    id: int
    pixels: int = 0
    square_metres: float = 0.0
    confidence: int = 0
    corners: list[Integers] = field(default_factory=list)

    def add(self, other: _Open) -> None:
        self.pixels += other.pixels
        self.square_metres += other.square_metres
        self.confidence += other.confidence
        self.corners += other.corners


class ObjectFinder:
    """Takes rows from top to bottom and gives objects as they are finished. For one thread.

    ids: the classes whose objects are wanted. with_nodes: whether a polygon also has a corner on a straight border where two
    other classes meet, so that neighbours have the same points. valid: whether rings are simple; otherwise they go around each
    pixel where two of an object touch at a corner alone.
    """

    def __init__(self, width: int, ids: Collection[int], *, with_nodes: bool = False, valid: bool = True) -> None:
        self._width, self._with_nodes, self._valid = width, with_nodes, valid
        self._is_object = np.zeros(OUTSIDE + 1, np.bool_)
        self._is_object[list(ids)] = True
        self._row, self._has_confidence = 0, False
        self._last = np.full(width, OUTSIDE, np.int16)  # the classes of the last row
        self._open: list[_Open | None] = []  # of each run of equal pixels of the last row, left to right

    def add(self, ids: Ids, square_metres: Floats, confidence: Ids | None = None) -> Iterator[MapObject]:
        """Takes the next rows, uint8 (rows, width), and yields the objects that they finish.

        square_metres: of each pixel, float64 (rows, width) or (rows, 1). confidence: round(255 x probability) of each pixel.
        """
        self._has_confidence = confidence is not None
        step = max(1, STEP_PIXELS // self._width)
        for top in range(0, len(ids), step):
            part = slice(top, top + step)
            sure = None if confidence is None else confidence[part]
            yield from self._outlined(self._add(ids[part].astype(np.int16), square_metres[part], sure))

    def finish(self) -> Iterator[MapObject]:
        """Yields the objects that the last row has."""
        outside = np.full((1, self._width), OUTSIDE, np.int16)
        yield from self._outlined(self._add(outside, np.zeros((1, 1)), None))

    def _add(self, rows: Integers16, square_metres: Floats, confidence: Ids | None) -> Iterator[_Open]:
        """Yields what it knows of the objects that the rows finish."""
        width = self._width
        classes = np.concatenate([self._last[None], rows])
        starts = _run_starts(classes)
        ids = classes.reshape(-1)[starts]
        last_row = slice(int(np.searchsorted(starts, len(rows) * width)), len(starts))
        regions = self._regions(classes, starts)
        count = int(regions.max()) + 1
        facts = self._facts(starts, regions, count, square_metres, confidence)
        corners, bounds = self._corners(classes, starts, regions, count)
        region_ids = np.empty(count, np.int64)
        region_ids[regions] = ids
        former: dict[int, list[_Open]] = {}
        for run, item in enumerate(self._open):
            if item is not None and all(item is not other for other in former.setdefault(int(regions[run]), [])):
                former[int(regions[run])].append(item)
        stays_open = np.zeros(count, np.bool_)
        stays_open[regions[last_row]] = True
        still_open: dict[int, _Open] = {}
        for region in np.flatnonzero(self._is_object[region_ids]).tolist():
            pixels, area, sure = facts[:, region].tolist()
            own = corners[bounds[region] : bounds[region + 1]]
            item = _Open(int(region_ids[region]), int(pixels), area, int(sure), [own])
            for other in former.get(region, ()):
                item.add(other)
            if stays_open[region]:
                still_open[region] = item
            else:
                yield item
        self._open = [still_open.get(region) for region in regions[last_row].tolist()]
        self._last = classes[-1]
        self._row += len(rows)

    def _outlined(self, items: Iterator[_Open]) -> Iterator[MapObject]:
        while batch := list(islice(items, OBJECTS_AT_ONCE)):
            polygons = outlines([np.concatenate(item.corners) for item in batch], valid=self._valid)
            for item, polygon in zip(batch, polygons, strict=True):
                confidence = item.confidence / (255 * item.pixels) if self._has_confidence else None
                yield MapObject(item.id, polygon, item.pixels, item.square_metres, confidence)

    def _regions(self, classes: Integers16, starts: Integers) -> Integers:
        """The region of each run, counted from 0: runs that touch along a side, or that were one object before."""
        width = classes.shape[1]
        flat = classes.reshape(-1)
        lower = np.concatenate([starts[starts >= width], starts[starts < flat.size - width] + width])  # where one may touch
        lower = lower[flat[lower] == flat[lower - width]]
        first = {id(item): run for run, item in reversed(list(enumerate(self._open))) if item is not None}
        ties = [(first[id(item)], run) for run, item in enumerate(self._open) if item is not None]
        before = np.array(ties, np.int64).reshape(-1, 2)
        pairs = np.concatenate([np.column_stack([_run_of(starts, lower - width), _run_of(starts, lower)]), before])
        roots = component_roots(len(starts), *pairs.T)
        regions: Integers = np.unique(roots, return_inverse=True)[1].reshape(-1)
        return regions

    def _facts(self, starts: Integers, regions: Integers, count: int, square_metres: Floats, confidence: Ids | None) -> Floats:
        """Pixels, square metres and the sum of the confidences of each region, over the new rows: float64 (3, regions)."""
        width = self._width
        begin = int(np.searchsorted(starts, width))
        own = starts[begin:] - width
        size = len(square_metres) * width
        lengths = np.diff(own, append=size)
        if square_metres.shape[1] == 1:
            areas = lengths * square_metres[own // width, 0]
        else:
            areas = np.add.reduceat(square_metres.reshape(-1), own)
        sums = np.zeros(len(own), np.int64)
        if confidence is not None:
            sums = np.add.reduceat(confidence.reshape(-1), own, dtype=np.int64)
        return np.array([np.bincount(regions[begin:], each, count) for each in (lengths, areas, sums)])

    def _corners(self, classes: Integers16, starts: Integers, regions: Integers, count: int) -> tuple[Integers, Integers]:
        """The corners at the upper ends of the new rows, by region, and where those of each region begin."""
        classes = np.pad(classes, ((0, 0), (1, 1)), constant_values=OUTSIDE)
        around = [classes[r : len(classes) - 1 + r, c : classes.shape[1] - 1 + c] for r in (0, 1) for c in (0, 1)]
        places = np.flatnonzero((around[0] != around[1]) | (around[0] != around[2]) | (around[0] != around[3]))
        rows, columns = np.divmod(places, self._width + 1)
        values = [each[rows, columns] for each in around]
        corners, owners = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.int64)]
        for turn in _turns(values, with_nodes=self._with_nodes):
            at = np.flatnonzero(turn.is_here & self._is_object[values[turn.pixel]])
            corner = np.empty((len(at), 4), np.int64)
            corner[:, ROW], corner[:, COLUMN] = rows[at] + self._row, columns[at]
            corner[:, HORIZONTAL], corner[:, VERTICAL] = turn.horizontal, turn.vertical
            corners.append(corner)
            down, right = divmod(turn.pixel, 2)
            owners.append(regions[_run_of(starts, (rows[at] + down) * self._width + columns[at] - 1 + right)])
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        return np.concatenate(corners)[order], np.searchsorted(owner[order], np.arange(count + 1))


class _Turn(NamedTuple):
    """A way in which a border can turn or have a node.

    is_here: at which places it does so, bool (places,). pixel: whose region it goes around, of the four pixels around a place:
    0 upper left, 1 upper right, 2 lower left, 3 lower right. horizontal, vertical: where it leads from there.
    """

    is_here: Mask
    pixel: int
    horizontal: int
    vertical: int


def _turns(values: Sequence[Integers16], *, with_nodes: bool) -> Iterator[_Turn]:
    """Yields every way. values: the classes of the four pixels around each place, in the order of `_Turn`."""
    for pixel, own in enumerate(values):
        # of a pixel's number, the lower bit is its column and the higher one its row
        beside, across, opposite = values[pixel ^ 1], values[pixel ^ 2], values[pixel ^ 3]
        vertical, horizontal = divmod(pixel, 2)  # the border leads along two sides of this pixel
        yield _Turn((own != beside) & (own != across), pixel, horizontal, vertical)  # a corner of this pixel's region
        # a corner of the region of the three others, which goes around this pixel
        yield _Turn((own != beside) & (beside == across) & (beside == opposite), pixel ^ 1, horizontal, vertical)
        if with_nodes and pixel in (0, 3):
            # a straight border: this pixel and the one beside it (across) are of one class, the other two of two more classes
            is_row = (own == beside) & (across != own) & (opposite != own) & (across != opposite)
            is_column = (own == across) & (beside != own) & (opposite != own) & (beside != opposite)
            for side in (0, 1):
                yield _Turn(is_row, pixel, side, NONE)
                yield _Turn(is_column, pixel, NONE, side)


def outlines(regions: Sequence[Integers], *, valid: bool) -> Geometries:
    """The polygons of regions, each from its corners, int64 (N, 4). A first ring begins at its top row's leftmost corner."""
    owners = np.repeat(np.arange(len(regions)), [len(each) for each in regions])
    corners = np.column_stack([np.concatenate(regions), owners])
    corners = corners[np.lexsort([corners[:, key] for key in (VERTICAL, HORIZONTAL, COLUMN, ROW, REGION)])]
    if valid:
        _part(corners)
    rows = _partners(corners, HORIZONTAL, (HORIZONTAL, COLUMN, ROW, REGION))
    columns = _partners(corners, VERTICAL, (VERTICAL, ROW, COLUMN, REGION))
    order, starts = _cycles(rows.tolist(), columns.tolist())
    corners = corners[order]
    points = corners[:, [COLUMN, ROW]].astype(np.float64)
    lengths = np.diff(starts, append=len(points))
    before = np.arange(len(points)) - 1
    before[starts] += lengths
    is_place = (points != points[before]).any(1)  # not the second half of a node
    rings = shapely.linearrings(points[is_place], indices=np.repeat(np.arange(len(starts)), lengths)[is_place])
    polygons: Geometries = shapely.polygons(rings, indices=corners[starts, REGION])
    return polygons


def _part(result: Integers) -> None:
    """Changes corners, which are in order, where two pixels of a region touch at a corner alone, so that rings stay simple.

    There the border passes twice, as two corners at one place, each around a pixel of the region. Afterwards each is around one
    of the two other pixels, so the border does not cross itself.
    """
    is_turn = (result[:, [HORIZONTAL, VERTICAL]] != NONE).all(1)
    places = result[:, [REGION, ROW, COLUMN]]
    is_double = (places[1:] == places[:-1]).all(1) & is_turn[1:] & is_turn[:-1]
    at = np.flatnonzero(is_double)
    result[at, VERTICAL], result[at + 1, VERTICAL] = result[at + 1, VERTICAL], result[at, VERTICAL].copy()


def _partners(corners: Integers, direction: int, keys: Sequence[int]) -> Integers:
    """For each corner the one at the other end of its straight border in a direction; of a node, its other half."""
    partners = np.empty(len(corners), np.int64)
    for index in (np.flatnonzero(corners[:, direction] != NONE), np.flatnonzero(corners[:, direction] == NONE)):
        order = index[np.lexsort([corners[index, key] for key in keys])]
        partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    return partners


def _cycles(rows: list[int], columns: list[int]) -> tuple[Integers, Integers]:
    """The rings, which follow rows and columns of pixels in turn: the corners' indices, concatenated, and where each starts.

    A ring begins with the first corner that no ring before it has.
    """
    order, starts = list[int](), list[int]()
    is_open = bytearray(b"\1" * len(rows))
    first = is_open.find(1)
    while first >= 0:
        starts.append(len(order))
        corner = first
        while is_open[corner]:
            other = rows[corner]
            is_open[corner] = is_open[other] = 0
            order += (corner, other)
            corner = columns[other]
        first = is_open.find(1, first)
    return np.array(order, np.int64), np.array(starts, np.int64)


def _run_starts(classes: Integers16) -> Integers:
    """Where runs of equal pixels begin, along the rows."""
    is_start = np.ones(classes.shape, np.bool_)
    np.not_equal(classes[:, 1:], classes[:, :-1], out=is_start[:, 1:])
    return np.flatnonzero(is_start)


def _run_of(starts: Integers, pixels: Integers) -> Integers:
    runs: Integers = np.searchsorted(starts, pixels, "right") - 1
    return runs
