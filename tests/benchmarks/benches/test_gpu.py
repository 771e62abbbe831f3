"""What the bench of a GPU reads of the service's metrics."""

from __future__ import annotations

import pytest

from benchmarks.benches.gpu import Counts, value_of


def test_values_are_read_from_the_metrics_and_one_that_is_missing_is_an_error() -> None:
    text = "# TYPE segment_batch_tiles histogram\nsegment_batch_tiles_sum 12.0\nsegment_batch_tiles_count 4.0\n"
    assert value_of("segment_batch_tiles_sum", text) == 12
    with pytest.raises(RuntimeError, match="no segment_tiles_total"):
        value_of("segment_tiles_total", text)


def test_counts_are_compared_with_earlier_ones() -> None:
    assert Counts(10, 8, 4, 3).since(Counts(6, 2, 1, 1)) == Counts(4, 6, 3, 2)
