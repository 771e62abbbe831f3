"""Flattens the islands of a cut-out: specks of background beside an object, which the guided filter leaves opaque."""

from __future__ import annotations

import numpy as np

from common.arrays import Integers, Mask, Pixels
from imaging.errors import AnswerTooLarge
from imaging.regions import Regions
from imaging.runs import ColumnRuns, column_runs

OPACITIES = (128, 64, 1)


def flatten_islands(opacity: Pixels, objects: Pixels, least: float) -> None:
    """Lowers the opacity of islands in place. opacity: uint8 (H, W). objects: uint8 (H, W), 1 at the pixels of the classes.

    An object is a 4-connected region of `objects`. The pixels of at least 128 form 4-connected regions. The largest region that
    shares a pixel with an object remains, for each object. A region of at least `least` pixels that shares one with any object
    remains, too. All others are islands: their opacity becomes 127. The same follows with 64 and with 1, so a part that is not
    connected with an object becomes transparent. An opacity with more borders or regions than the limits of `Regions` is
    skipped.
    """
    object_runs = column_runs(objects)
    try:
        object_regions = Regions(object_runs, [1])
    except AnswerTooLarge:
        return
    for lowest in OPACITIES:
        runs = column_runs((opacity >= lowest).view(np.uint8))
        try:
            regions = Regions(runs, [1])
        except AnswerTooLarge:
            continue
        islands = ~_remains(regions, object_regions, _first_pixels(runs, object_runs), least)
        if islands.any():
            opacity[regions.to_map(islands.view(np.uint8)) > 0] = lowest - 1


def _remains(regions: Regions, objects: Regions, pixels: Integers, least: float) -> Mask:
    """Which regions remain. pixels: the first ones of all runs of regions and of objects."""
    of_region, of_object = regions.at(pixels), objects.at(pixels)
    both = (of_region >= 0) & (of_object >= 0)
    of_region, of_object = of_region[both], of_object[both]
    remains = np.zeros(len(regions), np.bool_)
    remains[of_region] = regions.pixels[of_region] >= least
    order = np.lexsort((of_region, regions.pixels[of_region], of_object))
    last = np.flatnonzero(np.diff(of_object[order], append=-1))  # of each object, the largest region
    remains[of_region[order[last]]] = True
    return remains


def _first_pixels(one: ColumnRuns, other: ColumnRuns) -> Integers:
    """The first pixel of each run of either map, counted row by row."""
    columns, rows = np.divmod(np.concatenate([one.starts, other.starts]).astype(np.int64), one.height)
    pixels: Integers = rows * one.width + columns
    return pixels
