"""`fcn-train`: from data to a weights file and its card, across kills; what is wrong with its arguments and data."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import read_export
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.weights_file import load_weights
from tests.support.checkout import ROOT
from tests.support.polling import LONGEST_S
from tests.support.training.invocations import evaluate, on_shapes, split_of_shapes
from tests.support.training.runs import TINY_RECIPE
from training.commands.train import main
from training.commands.train_arguments import check_arguments, parser
from training.data.demo import write_demo_data
from training.data.layouts import list_frames

PROGRAM = [sys.executable, "-c", "import sys; from training.commands.train import main; sys.exit(main())"]

# ends as by a power cut: before the second checkpoint is in the first one's place
DIES = """
import os, signal, sys
from training.commands.train import main

def hook(event, arguments):
    if event == "os.rename" and os.path.exists(arguments[1]) and os.path.basename(arguments[1]) == "checkpoint.pt":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.exit(main())
"""


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_that_was_killed_ends_in_the_same_weights(tmp_path: Path, workers: int) -> None:
    write_demo_data(tmp_path / "data", train=32, val=3)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE)
    whole, broken = (on_shapes(tmp_path / "data", recipe, tmp_path / name) for name in ("whole", "broken"))
    broken += ["--workers", str(workers)]
    with (tmp_path / "log").open("wb") as log:
        killed = subprocess.run([sys.executable, "-c", DIES, *broken], cwd=ROOT, stdout=log, stderr=log, timeout=LONGEST_S)
    assert killed.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["progress"]["epoch"] == 1
    assert not (tmp_path / "broken" / "fcn.safetensors").exists()
    # in a process of its own: OpenVINO, which other tests load, gives this one a signal stack that is too small for AMX
    goes_on = subprocess.run([*PROGRAM, *broken], cwd=ROOT, capture_output=True, text=True, check=True, timeout=LONGEST_S)
    assert "epoch 1/4" not in goes_on.stderr
    assert main(whole) == 0
    first, second = (load_weights(tmp_path / name / "fcn.safetensors") for name in ("whole", "broken"))
    np.testing.assert_equal(second.tensors, first.tensors)
    assert first.manifest.scores == second.manifest.scores
    assert second.manifest.training["steps"] == 32


@pytest.mark.long
def test_a_start_is_read_once_for_all_trainings(
    shapes: Path, tiny_recipe: Path, narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is gone as soon as it was read."""
    start, read = shutil.copy(narrow_file, tmp_path / "start.safetensors"), Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        data = read(path)
        if path == start:
            path.unlink()
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", "--start", str(start), "--epochs", "1", "--seeds", "2")) == 0
    assert not start.exists()


@pytest.mark.long
def test_a_class_map_trains_and_a_score_map_scores_fewer_classes(shapes: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    maps = ["--epochs", "1", "--class-map", "0=0,1=1,*=2", "--score-map", "0=0,*=1"]
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", *maps)) == 0
    weights = load_weights(tmp_path / "out" / "fcn.safetensors")
    assert weights.manifest.labels.names == ["background", "circle", "square"]
    (scores,) = weights.manifest.scores.values()
    assert scores["classes"] == ["background", "circle"]
    matrix = evaluate(Segmenter(TorchRuntime(weights, "cpu")), split_of_shapes(shapes, "0=0,*=1"), Options())
    assert scores["mean_iou"] == matrix.scores()["mean_iou"]


@pytest.mark.long
def test_a_training_is_not_resumed_with_other_masks_of_val(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best epoch would be chosen by scores of two different vals."""
    write_demo_data(tmp_path / "data", train=8, val=3)
    words = on_shapes(tmp_path / "data", tiny_recipe, tmp_path / "out")
    assert main([*words, "--epochs", "1"]) == 0
    assert main([*words, "--epochs", "2", "--score-map", "0=0,*=1"]) == 2
    assert "a training with another recipe: epochs" not in (told := capsys.readouterr().err)
    assert "checkpoint.pt belongs to a training with another score map; give another --out or remove it" in told
    mask = list_frames(tmp_path / "data", "val").frames[0].mask
    ids = np.asarray(Image.open(mask)).copy()
    ids[:3] = 1 - ids[:3].clip(0, 1)
    Image.fromarray(ids).save(mask)
    assert main([*words, "--epochs", "2"]) == 2
    assert "checkpoint.pt belongs to a training with another val; give another --out or remove it" in capsys.readouterr().err


@pytest.mark.long
def test_exports_of_what_was_there_before_go(shapes: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    """Else the service would go on with the former network, by an int8 export that nobody made anew."""
    out = tmp_path / "out"
    assert main(on_shapes(shapes, tiny_recipe, out, "--epochs", "1")) == 0
    quantised = out / "fcn.int8.onnx"
    shutil.copyfile(out / "fcn.onnx", quantised)
    assert main(on_shapes(shapes, tiny_recipe, out, "--epochs", "2")) == 0
    assert not quantised.exists()
    assert read_export(out / "fcn.onnx").master_sha256 == load_weights(out / "fcn.safetensors").sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "give --data FOLDER, or --demo"),
        (["--demo", "--data", "x"], "--demo trains on generated shapes; leave out --data"),
        (["--demo", "--evaluate-every", "0"], "--evaluate-every must be at least 1, got 0"),
        (["--demo", "--name", "a/b"], "--name must be a file name of up to 200 bytes, got 'a/b'"),
        (["--demo", "--folds", "1"], "--folds must be at least 2, or 0 to train once, got 1"),
        (["--demo", "--folds", "2", "--seeds", "2"], "leave out --seeds"),
        (["--demo", "--folds", "2", "--stop-after", "3"], "leave it out with --folds"),
        (["--demo", "--group-pattern", "x"], "--group-pattern has no effect without --folds"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_values_that_no_training_can_have_are_named(changes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_arguments(parser().parse_args(changes))


WEIGHT = ["--set", "teacher_weight=1.0"]
TEACHER = ["--teacher", "weights/voc-fcn8s-mobilenet-v2.safetensors"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--val-split", "all"], "all.txt is not there"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--score-map", "circle=round,square=angular"], "names every class: background, triangle missing"),
        (WEIGHT, "give --teacher FILE"),
        (TEACHER, "--teacher has no effect"),
        ([*TEACHER, *WEIGHT], "the teacher must have the classes ['background', 'circle'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_a_line_with_status_2(
    changes: list[str], message: str, shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*on_shapes(shapes, tiny_recipe, tmp_path / "out"), *changes]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("fcn-train: ")
    assert message in error
    assert not list(tmp_path.rglob("fcn.safetensors"))
