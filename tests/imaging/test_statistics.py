"""Pixels and boxes per class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imaging.answer import class_statistics
from imaging.runs import column_runs

Pixels = npt.NDArray[np.uint8]
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.integers(0, 255), fill=st.integers(0, 3))


def test_of_equally_large_classes_the_lower_id_comes_first() -> None:
    assert [entry.id for entry in class_statistics(column_runs(np.array([[9, 3], [3, 9]], np.uint8)))] == [3, 9]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MAPS)
def test_statistics_agree_with_the_map(class_map: Pixels) -> None:
    entries = class_statistics(column_runs(class_map))
    assert sum(entry.pixels for entry in entries) == class_map.size
    assert sorted(entry.id for entry in entries) == np.unique(class_map).tolist()
    assert [entry.pixels for entry in entries] == sorted((entry.pixels for entry in entries), reverse=True)
    for entry in entries:
        rows, columns = np.nonzero(class_map == entry.id)
        assert entry.pixels == len(rows)
        left, top, width, height = entry.bbox
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
