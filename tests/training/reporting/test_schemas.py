"""The files of numbers that trackers read: their documented schemas hold for what the commands write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.support.checkout import ROOT
from training.commands.evaluate import main as evaluate
from training.reporting.curves import Curves

SCHEMAS = ROOT / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_each_line_of_metrics_is_an_epoch_as_the_schema_says(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    curves.add(epoch=1, loss=1.5, learning_rate=1e-3, waited=0.5, mean_iou=None)
    scores = {"iou/leaf, ä": 0.5, "iou/stem": None}
    curves.add(epoch=2, loss=float("nan"), learning_rate=1e-3, waited=0.5, mean_iou=0.25, val_loss=1.5, **scores)
    curves.add(epoch=3, loss=1.0, learning_rate=1e-3, waited=0.5, mean_iou=0.5, val_loss=0.5, **scores)
    first, second, third = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines())
    assert first == {"epoch": 1, "loss": 1.5, "learning_rate": 0.001, "waited": 0.5}
    assert "loss" not in second
    assert third["iou/leaf, ä"] == 0.5
    for line in (first, second, third):
        validator("metrics.schema.json").validate(line)
    with pytest.raises(ValidationError):
        validator("metrics.schema.json").validate(third | {"iou": 0.5})


def test_the_scores_of_an_evaluation_are_as_the_schema_says(shapes: Path, narrow_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    arguments = ["--data", str(shapes), "--weights", str(narrow_file), "--against", str(narrow_file), "--json", str(file)]
    assert evaluate(arguments) == 0
    document = json.loads(file.read_text())
    assert {"frames", "against", "mean_iou"} <= set(document)
    validator("scores.schema.json").validate(document)
    del document["frames"][0]["mean_iou"]
    with pytest.raises(ValidationError):
        validator("scores.schema.json").validate(document)
