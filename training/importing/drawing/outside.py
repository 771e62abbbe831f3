"""Objects that reach outside of their photos: told by name, and an error where most of a document do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from training.data.problems import DataError, first_names
from training.importing.coco import Document
from training.importing.drawing.geometry import Outline, name_of
from training.importing.outlines import Extent, box_of

MOST_OUTSIDE = 0.1  # share of an object's area, and of a photo's sides, that may lie outside
SLACK = 1.0  # pixels around a photo that count as inside
SIDE = 512  # pixels of the picture on which an object's area is measured
ALIKE = 1.05  # two factors that differ by less are one
Object = tuple[Mapping[str, Any], Extent]
"""An entry of a document, and where it lies."""


def measure(outline: Outline, size: tuple[int, int]) -> Extent:
    """Where an outline lies in an image (height, width). Run lengths are of the whole image."""
    if not isinstance(outline, list):
        return Extent((0, 0, size[1], size[0]), size)
    box = left, top, right, bottom = box_of(outline)
    if min(left, top) >= -SLACK and right <= size[1] + SLACK and bottom <= size[0] + SLACK:
        return Extent(box, size)
    scale = SIDE / max(1.0, right - left, bottom - top)
    picture = Image.new("1", (SIDE + 1, SIDE + 1))
    for polygon in outline:
        points = (np.array(polygon, np.float64).reshape(-1, 2) - (left, top)) * scale
        ImageDraw.Draw(picture).polygon(points.ravel().tolist(), fill=1)
    area = np.asarray(picture)
    rows = slice(max(0, round(-top * scale)), max(0, round((size[0] - top) * scale)))
    columns = slice(max(0, round(-left * scale)), max(0, round((size[1] - left) * scale)))
    return Extent(box, size, 1 - float(area[rows, columns].sum() / area.sum()))


def outside_names(document: Document, objects: Sequence[Object]) -> str:
    """The first objects by file, id and class, with the shares of them that lie outside, and the number of others."""
    files = {entry["id"]: entry["file_name"] for entry in document.images}
    classes = {entry["id"]: entry["name"] for entry in document.categories}
    return first_names(
        f"{files[entry['image_id']]}: {name_of(entry)}, {classes[entry['category_id']]}, {extent.outside:.0%}"
        for entry, extent in objects
    )


def outside_error(path: Path, document: Document, objects: Sequence[Object]) -> DataError | None:
    """The error of a document most of whose objects are these, which lie outside of their photos; None for others.

    It names what would fit. Objects that reach less than a tenth of a side beyond their photos are small or careless, and no
    error. One in a hundred may reach farther than the factors say.
    """
    if 2 * len(objects) <= len(document.annotations):
        return None
    edges = np.array([extent.edges for _, extent in objects])
    left, top = np.quantile(edges[:, :2], 0.01, axis=0, method="lower")
    right, bottom = np.quantile(edges[:, 2:], 0.99, axis=0, method="higher")
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
    counts = f"{len(objects)} of {len(document.annotations)} objects lie to more than a tenth outside of their photos"
    return DataError(f"{path}: {counts}, such as {outside_names(document, objects)}: {advice}")


def factor_words(width: float, height: float) -> str:
    """How much larger a photo is than another, by the factors of its sides: one number with two digits, if they agree."""
    low, high = sorted((width, height))
    if high > ALIKE * low:
        return f"{_two_digits(width)} times as wide and {_two_digits(height)} times as high"
    return f"{_two_digits(high)} times larger" if high >= 1 else f"{_two_digits(1 / high)} times smaller"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
