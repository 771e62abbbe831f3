"""`fcn-train --folds` and `--seeds`: frames that no network has seen, and the spread of trainings that differ by seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model.weights_file import load_weights
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.commands.train_repeat import out_of_fold, seed_report, without_fold
from training.commands.train_setup import TrainingData
from training.data.split import Split
from training.survey.records import survey_all


def test_the_matrices_of_folds_come_back_in_the_order_of_the_frames() -> None:
    fold_of = np.array([1, 0, 1, 0, 1])
    frames = np.arange(5)[:, None, None] * np.ones((1, 2, 2), np.int64)
    assert np.array_equal(out_of_fold([frames[fold_of == 0], frames[fold_of == 1]], fold_of), frames)


def test_a_training_learns_from_the_frames_of_the_other_folds(shapes_split: Split) -> None:
    (pool,) = survey_all([shapes_split])
    data = without_fold(TrainingData(pool, pool), np.arange(8) % 4, 1)
    train, validation = ([frame.name for frame in each.split.frames] for each in (data.train, data.validation))
    names = [frame.name for frame in shapes_split.frames]
    assert validation == names[1::4]
    assert train == [name for name in names if name not in validation]


@pytest.mark.long
def test_each_frame_is_scored_by_the_network_that_has_not_seen_it_and_the_command_resumes(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = on_shapes(shapes, tiny_recipe, out, "--epochs", "1", "--name", "mine", "--folds", "2")
    assert main(command) == 0
    printed = capsys.readouterr().out
    report = (out / "mine-folds.md").read_text()
    assert report in printed
    assert "12 frames, each scored by the one of 2 networks that was trained without it" in report
    document = json.loads((out / "mine-folds.json").read_text())
    files = [out / row["weights"] for row in document["folds"]]
    assert [row["frames"] for row in document["folds"]] == [6, 6]
    assert sorted(frame["fold"] for frame in document["frames"]) == [1] * 6 + [2] * 6
    for fold, (file, row) in enumerate(zip(files, document["folds"], strict=True), 1):
        manifest = load_weights(file).manifest
        (score,) = manifest.scores.values()
        assert score["mean_iou"] == row["mean_iou"]
        splits = {name: split["frames"] for name, split in manifest.training["splits"].items()}
        assert splits == {f"train and val without fold {fold}": 6, f"train and val, fold {fold}": 6}
    # a killed command goes on with the fold that it was in
    (out / "mine-folds.md").unlink()
    (out / "fold-2" / "checkpoint.pt").unlink()
    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.count("nothing is left to train") == 1
    assert (out / "mine-folds.md").read_text() == report


def score(mean_iou: float, *ious: float | None) -> dict[str, object]:
    return {"mean_iou": mean_iou, "iou": list(ious), "classes": ["background", "stem", "leaf"]}


def test_the_report_has_mean_and_standard_deviation_and_names_the_best_as_chosen() -> None:
    seeds = {4: score(0.5, 0.8, 0.2, None), 5: score(0.7, 0.9, 0.5, None), 6: score(0.6, 0.85, 0.35, None)}
    text = seed_report("mine", seeds, Path("runs/seed-5/mine.safetensors"), 5)
    assert text.splitlines() == [
        "# mine: 3 trainings that differ by seed",
        "",
        "| IoU on val | seed 4 | seed 5 | seed 6 | mean | standard deviation |",
        "|---|---|---|---|---|---|",
        "| **mean IoU** | 0.5000 | 0.7000 | 0.6000 | 0.6000 | 0.1000 |",
        "| background | 0.8000 | 0.9000 | 0.8500 | 0.8500 | 0.0500 |",
        "| stem | 0.2000 | 0.5000 | 0.3500 | 0.3500 | 0.1500 |",
        "| leaf |  |  |  |  |  |",
        "",
        "Seed 5 has the highest mean IoU on val, 0.7000: `runs/seed-5/mine.safetensors`. It is chosen on val, the best of 3, "
        "so its score is somewhat too good; the mean and the deviation are not chosen.",
    ]


@pytest.mark.long
def test_each_seed_is_trained_and_its_score_reported(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = on_shapes(shapes, tiny_recipe, out, "--epochs", "1", "--seed", "3", "--name", "mine", "--seeds", "2")
    assert main(command) == 0
    printed = capsys.readouterr().out
    seeds = [load_weights(out / f"seed-{seed}" / "mine.safetensors") for seed in (3, 4)]
    assert [weights.manifest.training["seed"] for weights in seeds] == [3, 4]
    report = (out / "mine-seeds.md").read_text()
    assert report in printed
    values = [next(iter(weights.manifest.scores.values()))["mean_iou"] for weights in seeds]
    row = next(line for line in report.splitlines() if line.startswith("| **mean IoU** |"))
    assert [float(cell) for cell in row.split("|")[2:4]] == pytest.approx(values, abs=6e-5)
    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.count("nothing is left to train") == 2
    assert report in again
