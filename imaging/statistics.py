"""What a class map says about each class: pixels and bounding box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels of one class and their bounding box [x, y, width, height]."""

    id: int
    pixels: int
    bbox: tuple[int, int, int, int]


def class_statistics(class_map: npt.NDArray[np.uint8]) -> list[ClassStatistics]:
    """The classes that are present, largest first (of equals, the lower id first)."""
    counts = np.bincount(class_map.ravel(), minlength=256)
    found = [ClassStatistics(int(i), int(counts[i]), _bbox(class_map == i)) for i in np.flatnonzero(counts)]
    return sorted(found, key=lambda entry: (-entry.pixels, entry.id))


def _bbox(inside: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
