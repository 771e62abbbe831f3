"""The stand-in for a GPU takes the time that it is told, and the bench reads the service's counts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.benches.feed import Counts, value_of
from benchmarks.harness.cheap_device import CALLS, CheapDevice, Times
from tests.support.model.doubles import FirstChannel, tile


def test_the_stand_in_runs_one_batch_after_another_and_answers_each_tile() -> None:
    device = CheapDevice(FirstChannel(), Times(launch=0, batch=20, tile=5))
    start = time.perf_counter()
    with ThreadPoolExecutor(CALLS) as pool:
        for logits in pool.map(device.logits, [[tile(3)] * 4] * 3):
            assert logits.shape == (4, 1, 32, 32)
            assert (logits == 3).all()
    assert time.perf_counter() - start >= 3 * (0.020 + 4 * 0.005)


def test_the_stand_in_s_launch_takes_the_calling_thread_s_processor_time() -> None:
    device = CheapDevice(FirstChannel(), Times(launch=30, batch=0, tile=0))
    before = time.thread_time()
    device.logits([tile(1)])
    assert time.thread_time() - before >= 0.030


def test_values_are_read_from_the_metrics_and_one_that_is_missing_is_an_error() -> None:
    text = "# TYPE segment_batch_tiles histogram\nsegment_batch_tiles_sum 12.0\nsegment_batch_tiles_count 4.0\n"
    assert value_of("segment_batch_tiles_sum", text) == 12
    with pytest.raises(RuntimeError, match="no segment_tiles_total"):
        value_of("segment_tiles_total", text)


def test_counts_are_compared_with_earlier_ones() -> None:
    assert Counts(10, 8, 4, 3).since(Counts(6, 2, 1, 1)) == Counts(4, 6, 3, 2)
