"""`fcn-train --demo`: weights, card, curves and scores of a training on shapes, and a training that goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.weights_file import Weights, load_weights
from tests.support.checkout import ROOT
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.publishing.card import card

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo cut to a few epochs."""
    out = tmp_path_factory.mktemp("demo")
    options = ["--epochs", "4", "--device", "cpu", "--threads", "1", "--name", "shapes", "--note", "A note."]
    options += ["--seed", "9", "--license", "CC0-1.0"]
    assert main(["--demo", *options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def demo_weights(demo: Path) -> Weights:
    return load_weights(demo / "shapes.safetensors")


def test_the_demo_leaves_weights_card_and_curves(demo: Path, demo_weights: Weights) -> None:
    names = {path.name for path in demo.iterdir()}
    assert names == {"checkpoint.pt", "curves.csv", "curves.png", "metrics.jsonl", "survey.json"} | {
        f"shapes{ending}"
        for ending in (".safetensors", "-best.safetensors", "-last.safetensors", ".onnx", ".md", ".png", ".jpg", ".curves.csv")
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
    assert (training["recipe"]["epochs"], training["recipe"]["seed"], manifest.license) == (4, 9, "CC0-1.0"), "flags beat it"


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
