"""Checkpoints: what is saved comes back, another training's is refused, and a kill leaves the former one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from training.learning.checkpoint import FILE, Progress, load_checkpoint, save_checkpoint
from training.learning.recipe import Recipe

IDENTITY = {"recipe": Recipe().model_dump(), "frames": "abc"}
PROGRESS = Progress(epoch=3, step=30, seconds=1.5, skipped=1)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    states = {"net": {"weight": torch.arange(3.0)}, "optimizer": {"param_groups": [{"lr": 0.1}]}}
    save_checkpoint(tmp_path, PROGRESS, states, IDENTITY)
    checkpoint = load_checkpoint(tmp_path, IDENTITY)
    assert checkpoint is not None
    progress, file_states = checkpoint
    assert progress == PROGRESS
    assert torch.equal(file_states["net"]["weight"], torch.arange(3.0))
    assert file_states["optimizer"] == states["optimizer"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("scores", "best", "lacking"),
    [
        ([0.5, 0.5, 0.5], (1, 0.5), [1, 2]),
        ([0.5, 0.4, None, None], (1, 0.5), [1]),
        ([0.1, 0.2, 0.3], (3, 0.3), []),
        ([], (0, None), []),
    ],
)
def test_progress_knows_the_best_epoch_and_how_long_ago_it_was(
    scores: list[float | None], best: tuple[int, float | None], lacking: list[int]
) -> None:
    progress = Progress()
    for epoch, score in enumerate(scores, 1):
        progress.epoch = epoch
        if score is not None:
            progress.take_score(score)
    assert (progress.best_epoch, progress.best_score) == best
    assert [epochs for epochs in range(5) if progress.lacks_gain(epochs)] == lacking


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"recipe": Recipe(seed=1, epochs=61).model_dump()}, r"recipe: seed \(0, now 1\);"),
        ({"recipe": Recipe(epochs=59).model_dump()}, r"recipe: epochs \(60, now 59\);"),
        ({"frames": "abd"}, "frames;"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, changes: dict[str, object], difference: str) -> None:
    save_checkpoint(tmp_path, PROGRESS, {}, IDENTITY)
    with pytest.raises(ValueError, match=rf"checkpoint\.pt belongs to a training with another {difference}.*another --out"):
        load_checkpoint(tmp_path, IDENTITY | changes)


def test_nothing_but_data_is_unpickled(tmp_path: Path) -> None:
    torch.save({"progress": {}, "states": {}, "identity": IDENTITY, "path": Path()}, tmp_path / FILE)
    with pytest.raises(ValueError, match="Weights only load failed"):
        load_checkpoint(tmp_path, IDENTITY)


FOREIGN: dict[str, Any] = {
    "a network's state": {"backbone.0.weight": torch.ones(1)},
    "a list": [1, 2],
    "other progress": {"progress": {"epoch": 1, "best": 0.5}, "states": {}, "identity": IDENTITY},
    "a recipe without epochs": {"progress": vars(PROGRESS), "states": {}, "identity": {"recipe": {}}},
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_file_of_another_program_is_refused_by_its_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / FILE)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no checkpoint of fcn-train.*--out, or remove it"):
        load_checkpoint(tmp_path, IDENTITY)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02}q\x00."], ids=repr)
def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is .*remove it"):
        load_checkpoint(tmp_path, IDENTITY)
