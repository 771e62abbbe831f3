"""Chooses which connected regions of the shown classes an answer shows."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from imaging.regions import Regions
from imaging.runs import column_runs

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
ADVICE = "leave objects and min_object_confidence out"


def hidden_pixels(class_map: Pixels, ids: Collection[int], confidence: Pixels | None, least: float, *, largest: bool) -> Mask:
    """The pixels, bool (H, W), of the regions that are left out.

    A region is a 4-connected area of pixels of any of the classes in `ids`. First those of a mean confidence below `least` (0
    to 1) are left out; then, if `largest`, all but the largest one. Of equal ones the first in COCO's order stays. confidence:
    uint8 (H, W), 255 x the probability of each pixel's class; None leaves out none for it. Raises `AnswerTooLarge` like
    `Regions`.
    """
    inside = np.isin(np.arange(256), list(ids))[class_map]
    regions = Regions(column_runs(inside.view(np.uint8)), [1], ADVICE)
    is_shown = np.ones(len(regions), np.bool_)
    if confidence is not None:
        is_shown = regions.totals(confidence) / (255 * regions.pixels) >= least
    if largest and is_shown.any():
        is_shown &= np.arange(len(regions)) == np.argmax(regions.pixels * is_shown)
    inside &= regions.to_map(is_shown.view(np.uint8)) == 0
    return inside


def foreground_without(foreground: Pixels, hidden: Mask, shown: Mask, cell: float) -> Pixels:
    """The probability of the shown classes, uint8 (H, W), without what hidden regions have of it, in and around them.

    A pixel outside of all regions belongs to those of which more is within two cells. hidden, shown: bool (H, W), pixels of the
    regions. cell: pixels that a cell of the network covers along an axis.
    """
    blur = ImageFilter.BoxBlur(2 * cell)
    near_hidden, near_shown = (
        np.asarray(Image.fromarray(mask.view(np.uint8) * np.uint8(255)).filter(blur)) for mask in (hidden, shown)
    )
    return np.where(hidden | (~shown & (near_hidden > near_shown)), np.uint8(0), foreground)
