"""Tells how a mask was drawn: in blocks, up to a straight line, in thin lines; how large its regions are, and where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.arrays import Ids, Mask
from imaging.classes import VOID
from imaging.errors import AnswerTooLarge
from imaging.regions import Regions
from imaging.runs import column_runs
from training.survey.placement import PhotoEdges

GRID = 16  # cells of a mask's height and of its width, whose ids are recorded
COARSE, LEAST_LINES = 4, 6  # pixels of a block, and rows (columns) at which something changes, at least
# Of 3,348 masks of Pascal VOC and 468 of CamVid, these name one. Of masks whose half was made background, they name about eight
# in ten of VOC, where many objects end before the middle, and all of CamVid.
SIDES = ("right", "lower", "left", "upper")
LEAST_PART, LARGE_PART = 0.15, 0.4  # of the mask, that has one id up to its rim
CONTACT, LONG_CONTACT = 0.3, 0.7  # share of the part's straight border beyond which another id lies
ON_EDGES = 0.8  # mean rank of the photo's edges along a border that is an object's
ACROSS = 0.85  # share of the mask's height (width) of a straight border between any ids
RIM = 0.1  # share of the mask beside its rim, in which no such border counts
LONGER_SIDE = 1024  # pixels to which larger masks are reduced before regions and lines are measured
THIN = 0.01  # share of the longer side; 3 pixels at least
LINE = 10


def block_side(ids: Ids) -> int:
    """The side in pixels of the blocks of which a mask (H, W) consists, as a smaller one has when it is enlarged; else 0.

    Masks of a few rectangles have too few borders to tell.
    """
    sides = []
    for rows in (ids, ids.T):
        changes = np.flatnonzero((rows[1:] != rows[:-1]).any(1))
        if len(changes) < LEAST_LINES:
            return 0
        sides.append(int(np.quantile(np.diff(changes), 0.1)))
    return min(sides) if min(sides) >= COARSE else 0


def unlabelled_part(ids: Ids, edges: PhotoEdges) -> str | None:
    """The part of a mask (H, W) that may have no labels, such as `right 50%`, or the place of a straight border; else None.

    The part has one id or void. Its border is straight and long, and not an edge of the photo, or the part is large.
    """
    for turns, side in enumerate(SIDES):
        side_ids = np.rot90(ids, turns)
        fill = side_ids[0, -1]
        columns = np.flatnonzero((side_ids != fill).any(0))
        if not len(columns):
            return None
        last = int(columns[-1])
        part = 1 - (last + 1) / side_ids.shape[1]
        beyond = side_ids[:, last] != fill
        contact = float(beyond.mean())
        if part < LEAST_PART or contact < CONTACT:
            continue
        if part >= LARGE_PART or contact >= LONG_CONTACT or _rank(edges, turns, last, beyond, side_ids.shape[1]) < ON_EDGES:
            return f"{side} {part:.0%}"
    for rows, length in ((ids, "width"), (ids.T, "height")):
        shares = (rows[:, 1:] != rows[:, :-1]).mean(0)
        beside = int(RIM * len(shares))
        inner = shares[beside : len(shares) - beside]
        if len(inner) and inner.max() >= ACROSS:
            return f"a border at {(int(inner.argmax()) + beside + 1) / rows.shape[1]:.0%} of the {length}"
    return None


def grid_ids(ids: Ids) -> bytes:
    """The ids in the middles of 16x16 cells of a mask (H, W), a byte each."""
    rows, columns = (((np.arange(GRID) + 0.5) * length / GRID).astype(int) for length in ids.shape)
    return ids[np.ix_(rows, columns)].tobytes()


def _rank(edges: PhotoEdges, turns: int, column: int, rows: Mask, width: int) -> float:
    """The mean rank of the photo's edges right of a column of the turned mask, in these rows."""
    ranks = np.rot90(edges.ranks, turns)
    side = len(ranks)
    at = int((column + 1) * side / width)
    nearest = ranks[:, max(0, at - 1) : at + 2].max(1)
    return float(nearest[((np.arange(len(rows)) + 0.5) * side / len(rows)).astype(int)[rows]].mean())


def typical_extents(ids: Ids) -> dict[int, float]:
    """For each class id, the side of a square as large as a typical region, as a share of the mask's longer side.

    ids: (H, W). A region is typical if half of the class's pixels lie in smaller regions, so that specks hardly count. The
    result is empty for a mask of more regions than `imaging.regions` lists, such as noise.
    """
    ids = _reduced(ids)
    try:
        regions = Regions(column_runs(ids), range(VOID + 1))
    except AnswerTooLarge:
        return {}
    region_ids, pixels, extents = np.array(regions.ids), regions.pixels, {}
    for class_id in np.unique(region_ids).tolist():
        areas = np.sort(pixels[region_ids == class_id])
        sums = np.cumsum(areas)
        typical = areas[np.searchsorted(sums, sums[-1] / 2)]
        extents[class_id] = float(np.sqrt(typical) / max(ids.shape))
    return extents


def thin_ids(ids: Ids) -> list[int]:
    """The ids of a mask (H, W) that are lines: they nowhere fill a square of `THIN`, and have the pixels of `LINE` squares."""
    ids = _reduced(ids)
    side = max(3, round(max(ids.shape) * THIN))
    if min(ids.shape) < side:
        return []
    # a square is of one id if none of its pixels differs from the right or the lower neighbour inside it
    across = _window_sums(ids[:, 1:] != ids[:, :-1], side, side - 1)
    down = _window_sums(ids[1:] != ids[:-1], side - 1, side)
    areas = np.unique(ids[: across.shape[0], : across.shape[1]][(across == 0) & (down == 0)])
    values, counts = np.unique(ids, return_counts=True)
    return [int(value) for value in np.setdiff1d(values[counts >= LINE * side**2], areas)]


def _window_sums(values: Mask, height: int, width: int) -> npt.NDArray[np.int32]:
    """The sums of all windows, int32 (H - height + 1, W - width + 1)."""
    sums = np.pad(values.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))
    windows: npt.NDArray[np.int32] = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    )
    return windows


def _reduced(ids: Ids) -> Ids:
    longer = max(ids.shape)
    if longer <= LONGER_SIDE:
        return ids
    height, width = (max(1, round(side * LONGER_SIDE / longer)) for side in ids.shape)
    return np.asarray(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))
