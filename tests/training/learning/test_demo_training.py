"""`fcn-train --demo`: weights, card, curves and scores of a training on shapes, and a training that goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.weights_file import load_weights
from tests.support.checkout import ROOT
from tests.support.training.invocations import on_shapes
from training.commands.train import main
from training.publishing.card import card

pytestmark = pytest.mark.long


def test_the_demo_leaves_files_that_tell_its_training_and_that_another_training_goes_on_from(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo is cut to a few epochs; the other training has the demo's network as its teacher, too."""
    demo = tmp_path / "demo"
    options = ["--epochs", "4", "--device", "cpu", "--threads", "1", "--name", "shapes", "--note", "A note."]
    options += ["--seed", "9", "--license", "CC0-1.0"]
    assert main(["--demo", *options, "--out", str(demo)]) == 0
    assert {path.name for path in demo.iterdir()} == {"checkpoint.pt", "curves.csv", "curves.png", "metrics.jsonl"} | {
        "survey.json", "shapes.safetensors", "shapes-best.safetensors", "shapes-last.safetensors", "shapes.onnx", "shapes.md",
        "shapes.png", "shapes.jpg", "shapes.curves.csv",
    }  # fmt: skip
    weights = load_weights(demo / "shapes.safetensors")
    assert (demo / "shapes.md").read_text() == card(weights)
    assert (demo / "shapes.curves.csv").read_bytes() == (demo / "curves.csv").read_bytes()
    manifest, training = weights.manifest, weights.manifest.training
    assert manifest.labels.names == ["background", "circle", "square", "triangle"]
    assert manifest.preprocessing.side == (96, 96)
    expected = {"data": "generated shapes", "start": "none", "steps": 48, "notes": ["A note."]}
    assert {name: training[name] for name in expected} == expected
    assert training["command"].startswith("fcn-train --demo --epochs 4 --device cpu ")
    assert training["splits"]["train"]["frames"] == 96
    assert list(manifest.scores) == ["generated shapes, val"]
    assert (training["recipe"]["epochs"], training["recipe"]["seed"], manifest.license) == (4, 9, "CC0-1.0"), "flags beat it"
    recipe, file = ROOT / "training" / "recipes" / "demo.toml", str(demo / "shapes.safetensors")
    further = ["--epochs", "1", "--start", file, "--teacher", file, "--set", "teacher_weight=1.0"]
    assert main(on_shapes(shapes, recipe, tmp_path / "out", *further)) == 0
    assert "; 0 tensors are new" in capsys.readouterr().out
    assert load_weights(tmp_path / "out" / "fcn.safetensors").manifest.training["start"] == "shapes.safetensors"
