"""What a class map says about each class: pixels and bounding box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels of one class and their bounding box [x, y, width, height]."""

    id: int
    pixels: int
    bbox: tuple[int, int, int, int]


def class_statistics(class_map: npt.NDArray[np.uint8]) -> list[ClassStatistics]:
    """The classes that are present, largest first (of equals, the lower id first)."""
    counts = pixel_counts(class_map)
    present = [ClassStatistics(id, count, _bbox(class_map == id)) for id, count in enumerate(counts) if count]
    return sorted(present, key=lambda entry: (-entry.pixels, entry.id))


def pixel_counts(class_map: npt.NDArray[np.uint8]) -> list[int]:
    """For each id from 0 to 255, the number of its pixels."""
    return Image.fromarray(class_map).histogram()


def mean_confidences(class_map: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]) -> list[float]:
    """For each id from 0 to 255, the mean confidence (0 to 1) of its pixels; 0 where it has none."""
    counts = np.zeros(1 << 16, np.int64)
    for ids, values in zip(class_map, confidence, strict=True):
        counts += np.bincount(ids.astype(np.uint16) * 256 + values, minlength=1 << 16)
    table = counts.reshape(256, 256)
    means: list[float] = (table @ np.arange(256) / 255 / np.maximum(table.sum(1), 1)).tolist()
    return means


def _bbox(inside: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
