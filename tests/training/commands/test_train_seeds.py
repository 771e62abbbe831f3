"""`fcn-train --seeds`: trainings that differ by seed, and the spread of their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.weights_file import load_weights
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.commands.train_repeat import seed_report

CLASSES = ["background", "stem", "leaf"]


def score(mean_iou: float, *ious: float | None) -> dict[str, object]:
    return {"mean_iou": mean_iou, "iou": list(ious), "classes": CLASSES}


def test_the_report_has_mean_and_standard_deviation_and_names_the_best_as_chosen() -> None:
    seeds = {4: score(0.5, 0.8, 0.2, None), 5: score(0.7, 0.9, 0.5, None), 6: score(0.6, 0.85, 0.35, None)}
    text = seed_report("mine", seeds, Path("runs/seed-5/mine.safetensors"), 5)
    lines = text.splitlines()
    assert lines[0] == "# mine: 3 trainings that differ by seed"
    assert lines[2:] == [
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
    cells = [float(cell) for cell in row.split("|")[2:-1]]
    expected_cells = [*values[:2], sum(values[:2]) / 2, abs(values[0] - values[1]) / 2**0.5]
    assert cells == pytest.approx(expected_cells, abs=6e-5)
    # the training of a seed is the one that --seed gives
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "alone", "--epochs", "1", "--seed", "4", "--name", "mine")) == 0
    alone = load_weights(tmp_path / "alone" / "mine.safetensors")
    assert all(np.array_equal(alone.tensors[name], seeds[1].tensors[name]) for name in alone.tensors)
    # what is done is not trained again
    capsys.readouterr()
    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.count("nothing is left to train") == 2
    assert report in again
