"""Objects that reach outside of their photos: told by name, and an error where most of a document do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.problems import DataError, first_names
from training.importing.coco.files import Document
from training.importing.drawing.geometry import name_of
from training.importing.outlines import Extent

MOST_OUTSIDE = 0.1  # share of an object's area, and of a photo's sides, that may lie outside
ALIKE = 1.05  # two factors that differ by less are one
TRIMMED = 100  # one object of so many may reach farther than the factor says
Object = tuple[Mapping[str, Any], Extent]
"""An entry of a document, and where it lies."""


def outside_names(document: Document, objects: Sequence[Object]) -> str:
    """The first objects by file, id and class, with the shares of them that lie outside, and the number of others."""
    files = {entry["id"]: entry["file_name"] for entry in document.images}
    classes = {entry["id"]: entry["name"] for entry in document.categories}
    return first_names(
        f"{files[entry['image_id']]}: {name_of(entry)}, {classes[entry['category_id']]}, {extent.outside:.0%}"
        for entry, extent in objects
    )


def outside_error(path: Path, document: Document, objects: Sequence[Object], count: int) -> DataError | None:
    """The error of a document most of whose objects lie outside of their photos, with what would fit; None for others.

    objects: those outside. count: of all objects. Labels that reach less than a tenth of a side beyond their photos are small
    or careless, and no error.
    """
    edges = np.sort([extent.edges for _, extent in objects], axis=0)
    if 2 * len(edges) <= count:
        return None
    trimmed = len(edges) // TRIMMED
    left, top, right, bottom = (*edges[trimmed, :2].tolist(), *edges[-1 - trimmed, 2:].tolist())
    if max(-left, -top, right - 1, bottom - 1) <= MOST_OUTSIDE:
        return None
    advice = f"they fit photos {factor_words(max(1, right), max(1, bottom))}"
    if min(left, top) < -MOST_OUTSIDE:
        sides = f"from {left:.2g} to {right:.2g} of the width and from {top:.2g} to {bottom:.2g} of the height"
        advice = f"they lie {sides}, counted from the upper left corner: move them"
    elif all(max(each.box[2] / each.size[0], each.box[3] / each.size[1]) <= ALIKE for _, each in objects):
        advice += ", or whose width and height are swapped: swap x and y, or turn the photos (see also --masks-orientation)"
    else:
        advice += ": give the photos that were labelled, or scale the labels"
    names = outside_names(document, objects)
    return DataError(
        f"{path}: {len(edges)} of {count} objects lie to more than a tenth outside of their photos, such as {names}: {advice}"
    )


def factor_words(width: float, height: float) -> str:
    """How much larger a photo is than another, by the factors of its sides: one number with two digits, if they agree."""
    low, high = sorted((width, height))
    if high > ALIKE * low:
        return f"{_two_digits(width)} times as wide and {_two_digits(height)} times as high"
    return f"{_two_digits(high)} times larger" if high >= 1 else f"{_two_digits(1 / high)} times smaller"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
