"""Measures how large the regions of each class are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.errors import AnswerTooLarge
from imaging.regions import Regions
from imaging.runs import column_runs

Ids = npt.NDArray[np.uint8]
LONGER_SIDE = 1024  # pixels to which larger masks are reduced first
THIN = 0.01  # share of the longer side; 3 pixels at least
LINE = 10


def typical_extents(ids: Ids) -> dict[int, float]:
    """For each class id, the side of a square as large as a typical region, as a share of the mask's longer side.

    ids: (H, W). A region is typical if half of the class's pixels lie in smaller regions, so that specks hardly count. The
    result is empty for a mask of more regions than `imaging.regions` lists, such as noise.
    """
    ids = _reduced(ids)
    classes = np.unique(ids).tolist()
    try:
        regions = list(Regions(column_runs(ids), classes).masks())
    except AnswerTooLarge:
        return {}
    extents = {}
    for class_id in classes:
        areas = np.sort([region.pixels for region in regions if region.id == class_id])
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


def _window_sums(values: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.int32]:
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
