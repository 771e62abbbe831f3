"""The order of frames: fixed by seed and epoch, shared out among processes without changing a step's frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.learning.distributed import World
from training.learning.loading import EpochBatches, check_shared_memory
from training.learning.recipe import Recipe


def batches(frames: int, batch: int, epoch: int = 0, seed: int = 0, world: World | None = None) -> list[list[tuple[int, int]]]:
    sampler = EpochBatches(frames, Recipe(batch=batch, seed=seed), world or World())
    sampler.epoch = epoch
    assert len(sampler) == len(list(sampler))
    return list(sampler)


def test_an_epoch_shows_each_frame_at_most_once_in_whole_batches() -> None:
    epoch = batches(11, 4)
    assert [len(batch) for batch in epoch] == [4, 4]
    indices = [index for batch in epoch for _, index in batch]
    assert len(set(indices)) == 8
    assert set(indices) <= set(range(11))
    assert [len(batch) for batch in batches(3, 8)] == [3]


def test_seed_and_epoch_fix_the_order() -> None:
    assert batches(20, 4, epoch=2) == batches(20, 4, epoch=2)
    assert {epoch for batch in batches(20, 4, epoch=2) for epoch, _ in batch} == {2}
    orders = [[index for batch in batches(20, 4, **which) for _, index in batch] for which in ({}, {"epoch": 1}, {"seed": 1})]
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize(("frames", "share"), [(22, 4), (13, 4), (7, 3)])
def test_processes_share_the_frames_of_each_step_equally(frames: int, share: int) -> None:
    shares = [batches(frames, 8, world=World(rank, 2)) for rank in range(2)]
    for whole, *parts in zip(batches(frames, 8), *shares, strict=True):
        assert [len(part) for part in parts] == [share] * 2
        assert {*parts[0], *parts[1]} <= set(whole)
        assert not set(parts[0]) & set(parts[1])


def test_what_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 processes, got 8"):
        EpochBatches(20, Recipe(batch=8), World(0, 3))
    with pytest.raises(ValueError, match="an epoch must have a frame for each of the 2 processes, got 1"):
        EpochBatches(1, Recipe(batch=8), World(0, 2))


def test_workers_are_refused_before_shared_memory_runs_out(tmp_path: Path) -> None:
    check_shared_memory(1, "--workers 1", tmp_path)
    check_shared_memory(1 << 60, "--workers 1", tmp_path / "none")  # another system
    for count, folder in ((1 << 60, tmp_path), (1, Path("/proc"))):
        with pytest.raises(ValueError, match=r"--workers 9 needs \d+ MB of shared memory, .* has \d+ MB .*--shm-size 1g"):
            check_shared_memory(count, "--workers 9", folder)
