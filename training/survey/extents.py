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


def _reduced(ids: Ids) -> Ids:
    longer = max(ids.shape)
    if longer <= LONGER_SIDE:
        return ids
    height, width = (max(1, round(side * LONGER_SIDE / longer)) for side in ids.shape)
    return np.asarray(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))
