"""What a class map says about each class: pixels and bounding box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.runs import ColumnRuns


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels of one class and their bounding box [x, y, width, height]."""

    id: int
    pixels: int
    bbox: tuple[int, int, int, int]


def class_statistics(runs: ColumnRuns) -> list[ClassStatistics]:
    """The classes that are present, largest first (of equals, the lower id first)."""
    ends = runs.ends
    statistics = []
    for id in np.unique(runs.ids).tolist():
        at = np.flatnonzero(runs.ids == id)
        starts, lengths = runs.starts[at], ends[at] - runs.starts[at]
        columns, rows = np.divmod(starts, runs.height)
        left, top = int(columns[0]), int(rows.min())
        bbox = left, top, int(columns[-1]) - left + 1, int((rows + lengths).max()) - top
        statistics.append(ClassStatistics(id, int(lengths.sum(dtype=np.int64)), bbox))
    return sorted(statistics, key=lambda entry: (-entry.pixels, entry.id))


def mean_confidences(class_map: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]) -> list[float]:
    """For each id from 0 to 255, the mean confidence (0 to 1) of its pixels; 0 where it has none."""
    counts = np.zeros(1 << 16, np.int64)
    for ids, values in zip(class_map, confidence, strict=True):
        counts += np.bincount(ids.astype(np.uint16) * 256 + values, minlength=1 << 16)
    table = counts.reshape(256, 256)
    means: list[float] = (table @ np.arange(256) / 255 / np.maximum(table.sum(1), 1)).tolist()
    return means
