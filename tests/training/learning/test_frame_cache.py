"""Frames that several processes keep in one file of a limited size."""

from __future__ import annotations

import numpy as np
import pytest

from training.learning.frame_cache import FrameCache


def frame(size: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full(size, value, np.uint8)


def test_a_frame_comes_back_as_it_was_written() -> None:
    cache = FrameCache([3, 5, 4], limit=100)
    assert [cache.read(index) for index in range(3)] == [None] * 3
    cache.write(2, frame(4, 7))
    cache.write(0, frame(3, 9))
    read = [cache.read(index) for index in range(3)]
    assert [None if values is None else values.tolist() for values in read] == [[9] * 3, None, [7] * 4]


@pytest.mark.parametrize(("limit", "kept"), [(0, []), (3 + 8, [0, 2]), (3 + 12, [0, 1]), (3 + 16, [0, 1, 2])])
def test_frames_are_kept_as_far_as_the_limit_reaches(limit: int, kept: list[int]) -> None:
    sizes = [4, 8, 4]
    cache = FrameCache(sizes, limit)
    for index, size in enumerate(sizes):
        cache.write(index, frame(size, index))
    assert [index for index in range(3) if cache.read(index) is not None] == kept


def test_a_frame_of_another_size_than_its_place_is_not_kept() -> None:
    """An image that changed during the training."""
    cache = FrameCache([4, 4], limit=100)
    cache.write(1, frame(4, 1))
    cache.write(0, frame(6, 0))
    assert cache.read(0) is None
    assert cache.read(1) is not None
    assert cache.read(1).tolist() == [1] * 4  # type: ignore[union-attr]
