"""`fcn-train` tells what is wrong with its arguments and data, and stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.data.demo import write_demo_data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--train-split", "all"], "all.txt is not there"),
        (["--val-split", "all"], "all.txt is not there"),
        (["--labels", "nothing"], "labels must be voc, camvid, or a JSON or YAML file"),
        (["--labels", "{tmp}/no-classes.json"], "no-classes.json"),
        (["--recipe", "nowhere.toml"], "nowhere.toml is not a recipe"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--start", "{tmp}/word.safetensors"], "word.safetensors"),
        (["--teacher", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--recipe", "{tmp}/teacher.toml"], "give --teacher FILE"),
        (["--evaluate-every", "0"], "evaluate-every must be at least 1"),
        (["--seeds", "0"], "--seeds must be the number of trainings, at least 1, got 0"),
        (["--seeds", "2", "--group", "each"], "--seeds goes with one training set"),
        (["--cache-mb", "-1"], "--workers and --cache-mb at least 0, got 5, 0 and -1"),
        (["--stop-after", "-1"], "--stop-after must be at least 1, or 0"),
        (["--folds", "1"], "--folds must be at least 2, or 0 to train once, got 1"),
        (["--folds", "-2"], "--folds must be at least 2"),
        (["--folds", "2", "--seeds", "2"], "leave out --group and --seeds"),
        (["--folds", "2", "--group", "each"], "leave out --group and --seeds"),
        (["--folds", "2", "--stop-after", "3"], "leave it out with --folds"),
        (["--group-pattern", "x"], "give --group NAME or --folds NUMBER with --group-pattern"),
        (["--demo", "--data", "{tmp}"], "--demo trains on generated shapes; leave out --data"),
        (["--threads", "-1"], "threads must be 0 or more"),
        (["--name", "a/b"], "--name must be a file name of up to 200 bytes, got 'a/b'"),
        (["--start", "{tmp}"], "cannot be read"),
        (
            ["--teacher", "weights/voc-fcn8s-mobilenet-v2.safetensors"],
            "--teacher has no effect",
        ),
        (
            ["--teacher", "weights/voc-fcn8s-mobilenet-v2.safetensors", "--set", "teacher_weight=1.0"],
            "the teacher must have the classes ['background', 'circle', 'square', 'triangle']",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_told_on_stderr_with_status_2(
    changes: list[str],
    message: str,
    shapes: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "no-classes.json").write_text("{}")
    (tmp_path / "word.safetensors").write_bytes(b"no weights " * 10)
    (tmp_path / "teacher.toml").write_text("teacher_weight = 1.0\nwidth = 0.1\n")
    arguments = [change.format(tmp=tmp_path) for change in changes]
    assert main([*on_shapes(shapes, tiny_recipe, tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("fcn-train: ")
    assert message in error
    assert not list(tmp_path.rglob("fcn.safetensors"))


def test_data_or_the_demo_must_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "fcn-train: give --data FOLDER, or --demo\n"


def test_a_mask_that_does_not_fit_stops_the_training_naming_it(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo_data(tmp_path / "data", train=4, val=1)
    bad = tmp_path / "data" / "SegmentationClass" / "train_002.png"
    Image.fromarray(np.full((96, 96), 77, np.uint8)).save(bad)
    assert main(on_shapes(tmp_path / "data", tiny_recipe, tmp_path / "out")) == 2
    assert f"{bad}: ids [77]" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--epochs", "many"], ["--nonsense"]], ids=" ".join)
def test_arguments_that_cannot_be_parsed_exit_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--demo", *arguments])
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_score_map_that_leaves_a_class_out_stops_before_the_training(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", "--score-map", "circle=round,square=angular")) == 2
    assert "names every class: background, triangle missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
