"""Frames that several processes keep in one file of a limited size."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

from training.learning import frame_cache
from training.learning.frame_cache import FrameCache


def frame(size: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full(size, value, np.uint8)


@pytest.mark.parametrize(("limit", "indices"), [(0, []), (3 + 8, [0, 2]), (3 + 16, [0, 1, 2])])
def test_frames_are_kept_as_far_as_the_limit_reaches(limit: int, indices: list[int]) -> None:
    sizes = [4, 8, 4]
    cache = FrameCache(sizes, limit)
    for index, size in enumerate(sizes):
        cache.write(index, frame(size, index))
    assert [index for index in range(3) if cache.read(index) is not None] == indices


def test_a_frame_of_another_size_than_its_place_is_not_kept() -> None:
    """An image that changed during the training."""
    cache = FrameCache([4, 4], limit=100)
    cache.write(1, frame(4, 1))
    cache.write(0, frame(6, 0))
    assert cache.read(0) is None
    assert cache.read(1) is not None
    assert cache.read(1).tolist() == [1] * 4  # type: ignore[union-attr]


@pytest.mark.parametrize("has_name", [False, True])
def test_the_file_goes_with_the_object_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_name: bool) -> None:
    """Without a name, where the system can open such a file: even a process that is killed leaves nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if has_name:
        monkeypatch.setattr(frame_cache, "OPEN_FILES", tmp_path / "none")
    cache = FrameCache([4, 4], limit=100)
    copy = pickle.loads(pickle.dumps(cache))
    copy.write(1, frame(4, 3))
    values = cache.read(1)
    assert values is not None
    assert values.tolist() == [3] * 4
    assert len(list(tmp_path.iterdir())) == has_name
    del copy
    assert cache.read(1) is not None
    del cache
    assert not list(tmp_path.iterdir())
