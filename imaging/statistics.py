"""Statistics of each class in a class map: pixels, bounding box and mean confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.runs import ColumnRuns


@dataclass(frozen=True)
class ClassStatistics:
    """Number of pixels of one class, and their bounding box (x, y, width, height) in pixels."""

    id: int
    pixels: int
    bbox: tuple[int, int, int, int]


def class_statistics(runs: ColumnRuns) -> list[ClassStatistics]:
    """Statistics of the classes that are present, largest first. Of equal ones, the lower id comes first."""
    ends = runs.ends
    statistics = []
    for id in np.unique(runs.ids).tolist():
        indices = np.flatnonzero(runs.ids == id)
        starts, lengths = runs.starts[indices], ends[indices] - runs.starts[indices]
        columns, rows = np.divmod(starts, runs.height)
        left, top = int(columns[0]), int(rows.min())
        bbox = left, top, int(columns[-1]) - left + 1, int((rows + lengths).max()) - top
        statistics.append(ClassStatistics(id, int(lengths.sum(dtype=np.int64)), bbox))
    return sorted(statistics, key=lambda entry: (-entry.pixels, entry.id))


def class_pixels(class_map: npt.NDArray[np.uint8]) -> list[int]:
    """For each id from 0 to 255, its number of pixels in a class map, uint8 (H, W)."""
    return Image.fromarray(class_map).histogram()  # several times faster than NumPy, which widens each pixel first


def mean_confidences(class_map: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]) -> list[float]:
    """For each id from 0 to 255, the mean confidence (0 to 1) of its pixels; 0 if it has no pixels."""
    counts = np.zeros(1 << 16, np.int64)
    for ids, values in zip(class_map, confidence, strict=True):
        counts += np.bincount(ids.astype(np.uint16) * 256 + values, minlength=1 << 16)
    table = counts.reshape(256, 256)
    means: list[float] = (table @ np.arange(256) / 255 / np.maximum(table.sum(1), 1)).tolist()
    return means
