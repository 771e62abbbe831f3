"""Chooses which connected regions of the shown classes an answer shows."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image, ImageFilter

from common.arrays import Mask, Pixels
from imaging.classes import VOID
from imaging.regions import Regions
from imaging.runs import column_runs

ADVICE = "leave objects and min_object_confidence out"


def without_unsure(class_map: Pixels, confidence: Pixels, least: float) -> Pixels:
    """The class map, uint8 (H, W), with void at pixels whose confidence (uint8, of 255) is below `least` (0 to 1)."""
    lowest = np.searchsorted(np.arange(256) / 255, least)  # the least value of the confidence that is not below
    return np.where(confidence < lowest, np.uint8(VOID), class_map)


def choose_regions(
    class_map: Pixels, foreground: Pixels | None, ids: Collection[int], confidence: Pixels | None, least: float,
    *, largest: bool, cell: float,
) -> tuple[Pixels, Pixels | None]:  # fmt: skip
    """The class map, uint8 (H, W), with void at the regions that are left out; and the foreground without them.

    A region is a 4-connected area of pixels of any of the classes in `ids`. First those of a mean confidence below `least` (0
    to 1) are left out; then, if `largest`, all but the largest one. Of equal ones the first in COCO's order stays. confidence:
    uint8 (H, W), 255 x the probability of each pixel's class; None leaves out none for it. foreground: as in `Segmentation`.
    cell: pixels that a cell of the network covers along an axis. Raises `AnswerTooLarge` like `Regions`.
    """
    inside = np.isin(np.arange(256), list(ids))[class_map]
    regions = Regions(column_runs(inside.view(np.uint8)), [1], ADVICE)
    stays = np.ones(len(regions), np.bool_)
    if confidence is not None:
        stays = regions.totals(confidence) / (255 * regions.pixels) >= least
    if largest and stays.any():
        stays &= np.arange(len(regions)) == np.argmax(regions.pixels * stays)
    visible = regions.to_map(stays.view(np.uint8)) > 0
    if foreground is not None:
        foreground = _without(foreground, inside & ~visible, visible, cell)
    return np.where(inside & ~visible, np.uint8(VOID), class_map), foreground


def _without(foreground: Pixels, others: Mask, visible: Mask, cell: float) -> Pixels:
    """The foreground without what hidden regions have of it: a pixel outside of all belongs to those of which more is near."""
    blur = ImageFilter.BoxBlur(2 * cell)
    near_others, near_visible = (np.asarray(Image.fromarray(mask * np.uint8(255)).filter(blur)) for mask in (others, visible))
    return np.where(others | (~visible & (near_others > near_visible)), np.uint8(0), foreground)
