"""`fcn-train`: from data to a weights file and its card, across kills, and its errors."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.main import main as segment_main
from model.predictor import Predictor
from model.segmentation import Options
from model.weights_file import Weights, load_weights
from tests.conftest import make_photo
from tests.training.conftest import TINY_RECIPE
from training.card import card
from training.class_mapping import parse_class_mapping
from training.datasets import get_dataset
from training.demo import write_demo_data
from training.evaluate import conditions, evaluate
from training.label_files import read_labels
from training.train_command import main

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "import sys; from training.train_command import main; sys.exit(main())"]


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Puts back the number of threads, which `--threads` sets for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def on_shapes(shapes: Path, recipe: Path, out: Path, *extra: str) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--recipe", recipe, "--out", out, "--threads", "1"]
    return [*map(str, names), "--device", "cpu", *extra]


def epochs_in(folder: Path) -> int:
    progress = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["progress"]
    return int(progress["epoch"])


def test_a_training_that_was_killed_ends_in_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo_data(tmp_path / "data", train=32, val=3)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE)
    whole, broken = (on_shapes(tmp_path / "data", recipe, tmp_path / name) for name in ("whole", "broken"))
    with (tmp_path / "log").open("wb") as log:
        killed = subprocess.Popen([*PROGRAM, *broken], cwd=ROOT, stdout=log, stderr=log)
        while not (tmp_path / "broken" / "checkpoint.pt").is_file() and killed.poll() is None:
            time.sleep(0.002)
        killed.kill()
    assert killed.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert 1 <= epochs_in(tmp_path / "broken") < 4
    assert not (tmp_path / "broken" / "fcn.safetensors").exists()
    assert main(broken) == 0
    assert "epoch 1/4" not in capsys.readouterr().err
    assert main(whole) == 0
    first, second = (load_weights(tmp_path / name / "fcn.safetensors") for name in ("whole", "broken"))
    assert set(first.tensors) == set(second.tensors)
    assert [name for name in first.tensors if not torch.equal(first.tensors[name], second.tensors[name])] == []
    assert first.manifest.scores == second.manifest.scores
    assert second.manifest.training["steps"] == 32


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo cut to a few epochs."""
    out = tmp_path_factory.mktemp("demo")
    options = ["--epochs", "4", "--device", "cpu", "--threads", "1", "--name", "shapes", "--note", "A note."]
    assert main(["--demo", *options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def demo_weights(demo: Path) -> Weights:
    return load_weights(demo / "shapes.safetensors")


def test_the_demos_loss_falls(demo: Path) -> None:
    with (demo / "curves.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]


def test_the_demo_leaves_weights_card_and_curves(demo: Path, demo_weights: Weights) -> None:
    names = {path.name for path in demo.iterdir()}
    assert names == {"checkpoint.pt", "curves.csv", "curves.png"} | {
        f"shapes.{ending}" for ending in ("safetensors", "md", "png", "curves.csv")
    }
    assert (demo / "shapes.md").read_text() == card(demo_weights)
    assert (demo / "shapes.curves.csv").read_bytes() == (demo / "curves.csv").read_bytes()


def test_the_demos_file_tells_its_training(demo: Path, demo_weights: Weights) -> None:
    manifest = demo_weights.manifest
    assert manifest.labels.names == ["background", "circle", "square", "triangle"]
    assert manifest.preprocessing.side == (96, 96)
    training = manifest.training
    assert (training["data"], training["start"], training["steps"], training["notes"]) == (
        "generated shapes",
        "none",
        48,
        ["A note."],
    )
    assert training["command"].startswith("fcn-train --demo --epochs 4 --device cpu ")
    assert training["splits"]["train"]["frames"] == 96
    assert list(manifest.scores) == ["generated shapes, val"]


def test_the_demos_scores_are_those_of_the_served_path(demo_weights: Weights, tmp_path: Path) -> None:
    labels = read_labels(str(write_demo_data(tmp_path)))
    split = get_dataset(tmp_path, "val", labels)
    predictor = Predictor(demo_weights, "cpu")
    expected = evaluate(predictor, split, Options(), quiet=True).scores() | {"classes": labels.names}
    recorded = demo_weights.manifest.scores["generated shapes, val"]
    assert {name: recorded[name] for name in expected} == expected
    assert recorded["conditions"] == conditions(predictor, Options())


def test_the_command_line_segments_with_the_demos_file(demo: Path, tmp_path: Path) -> None:
    Image.fromarray(make_photo(70, 50)).save(tmp_path / "photo.png")
    out = tmp_path / "mask.png"
    arguments = [tmp_path / "photo.png", "-o", out, "--weights", demo / "shapes.safetensors", "--device", "cpu"]
    assert segment_main([str(argument) for argument in arguments]) == 0
    with Image.open(out) as mask:
        assert (mask.mode, mask.size) == ("P", (50, 70))
        assert np.asarray(mask).max() < 4


def test_flags_beat_the_recipe_and_the_file_bears_name_and_licence(
    shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs", "1", "--batch", "8", "--seed", "9", "--name", "mine", "--license", "CC0-1.0"]
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", *flags)) == 0
    weights = load_weights(tmp_path / "out" / "mine.safetensors")
    recipe = weights.manifest.training["recipe"]
    assert (recipe["epochs"], recipe["batch"], recipe["seed"], recipe["width"]) == (1, 8, 9, 0.1)
    assert weights.manifest.license == "CC0-1.0"
    assert list(weights.manifest.scores) == [f"{shapes.name}, val"]
    assert "mean IoU" in capsys.readouterr().out


def test_a_class_map_trains_and_a_score_map_scores_fewer_classes(shapes: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    maps = ["--epochs", "1", "--class-map", "0=0,1=1,*=2", "--score-map", "0=0,*=1"]
    assert main(on_shapes(shapes, tiny_recipe, tmp_path / "out", *maps)) == 0
    weights = load_weights(tmp_path / "out" / "fcn.safetensors")
    assert weights.manifest.labels.names == ["background", "circle", "square"]
    (scores,) = weights.manifest.scores.values()
    assert scores["classes"] == ["background", "circle"]
    labels = read_labels(str(shapes / "classes.json"))
    split = get_dataset(shapes, "val", labels, parse_class_mapping("0=0,*=1", labels))
    scored = parse_class_mapping("0=0,*=1", weights.manifest.labels)
    matrix = evaluate(Predictor(weights, "cpu"), split, Options(), scored, quiet=True)
    assert scores["mean_iou"] == matrix.scores()["mean_iou"]


def test_a_training_goes_on_from_our_own_file_with_itself_as_teacher(
    demo: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ROOT / "training" / "recipes" / "demo.toml"
    file = str(demo / "shapes.safetensors")
    (tmp_path / "teacher.toml").write_text(recipe.read_text() + "teacher_weight = 1.0\n")
    arguments = on_shapes(
        shapes, tmp_path / "teacher.toml", tmp_path / "out", "--epochs", "1", "--start", file, "--teacher", file
    )
    assert main(arguments) == 0
    assert "; 0 tensors are new" in capsys.readouterr().out
    assert load_weights(tmp_path / "out" / "fcn.safetensors").manifest.training["start"] == "shapes.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--train-split", "all"], "all.txt is not there"),
        (["--val-split", "all"], "all.txt is not there"),
        (["--labels", "nothing"], "labels must be voc, camvid, or a JSON or YAML file"),
        (["--labels", "{tmp}/no-classes.json"], "no-classes.json"),
        (["--class-map", "0:1"], "a class mapping is written"),
        (["--recipe", "nowhere.toml"], "nowhere.toml is not a recipe"),
        (["--recipe", "{tmp}/word.toml"], "batch"),
        (["--batch", "0"], "batch must be at least 1"),
        (["--variant", "fcn4s"], "variant must be one of fcn32s, fcn16s, fcn8s"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--start", "{tmp}/word.safetensors"], "word.safetensors"),
        (["--teacher", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--recipe", "{tmp}/teacher.toml"], "give --teacher FILE"),
        (["--device", "abacus"], "device must be auto, cpu"),
        (["--set", "learnin_rate=1"], "unknown ['learnin_rate']"),
        (["--evaluate-every", "0"], "evaluate-every must be at least 1"),
        (["--threads", "-1"], "threads must be 0 or more"),
        (["--name", "a/b"], "--name must be a name without folders, got 'a/b'"),
        (["--start", "{tmp}"], "is not a safetensors file"),
        (["--teacher", "voc-fcn8s-mobilenet-v2.safetensors"], "voc-fcn8s-mobilenet-v2.safetensors"),
        (
            ["--teacher", "weights/voc-fcn8s-mobilenet-v2.safetensors"],
            "--teacher would change nothing",
        ),
        (
            ["--teacher", "weights/voc-fcn8s-mobilenet-v2.safetensors", "--set", "teacher_weight=1.0"],
            "the teacher must know the classes ['background', 'circle', 'square', 'triangle']",
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
    (tmp_path / "word.toml").write_text("batch = 'eight'")
    (tmp_path / "word.safetensors").write_bytes(b"no weights " * 10)
    (tmp_path / "teacher.toml").write_text("teacher_weight = 1.0\nwidth = 0.1\n")
    given = [change.format(tmp=tmp_path) for change in changes]
    assert main([*on_shapes(shapes, tiny_recipe, tmp_path / "out"), *given]) == 2
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
