"""`fcn-evaluate`: the same scores as text or JSON, and errors with status 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.predictor import Predictor
from model.segmentation import Options
from model.weights_file import load_weights
from training.class_mapping import parse_class_mapping
from training.datasets import get_dataset, read_labels
from training.evaluate import evaluate, table
from training.evaluate_command import main


@pytest.fixture
def arguments(shapes: Path, narrow_file: Path) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--weights", narrow_file]
    return [str(name) for name in names] + ["--tile", "64", "--device", "cpu", "--dtype", "float32"]


def test_the_table_is_printed_with_its_conditions(
    arguments: list[str], shapes: Path, narrow_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    split = get_dataset(shapes, "val", read_labels(str(shapes / "classes.json")))
    predictor = Predictor(load_weights(narrow_file), "cpu", "float32")
    expected = table(evaluate(predictor, split, Options(tile=(64, 64)), quiet=True), split.labels.names)
    *rows, conditions = capsys.readouterr().out.splitlines()
    assert "\n".join(rows) == expected
    for part in ("weights narrow", predictor.weights.sha256, split.digest, "side auto", "tile [64, 64]", "dtype float32"):
        assert part in conditions


def test_json_holds_scores_classes_and_conditions(
    arguments: list[str], shapes: Path, narrow_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main([*arguments, "--json", "--class-map", "0=0,*=1", "--side", "native", "--split", "train", "--blend", "hann"]) == 0
    )
    printed = json.loads(capsys.readouterr().out)
    labels = read_labels(str(shapes / "classes.json"))
    mapping = parse_class_mapping("0=0,*=1", labels)
    predictor = Predictor(load_weights(narrow_file), "cpu", "float32")
    options = Options(tile=(64, 64), blend="hann", side="native")
    matrix = evaluate(predictor, get_dataset(shapes, "train", labels, mapping), options, mapping, quiet=True)
    assert printed["scores"] == matrix.scores()
    assert printed["classes"] == ["background", "circle"]
    assert printed["conditions"]["frames"] == 16
    assert (printed["conditions"]["side"], printed["conditions"]["blend"]) == ("native", "hann")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--data", "nowhere"], "nowhere holds neither"),
        (["--weights", "nothing"], "no weights file 'nothing'"),
        (["--split", "test"], "test.txt is not there"),
        (["--labels", "nothing"], "labels must be voc, camvid or a JSON file"),
        (["--labels", "voc"], "predictions have 4 classes, labels 21"),
        (["--class-map", "0:1"], "a class mapping is written"),
        (["--side", "many"], "many"),
        (["--overlap", "0.7"], "overlap must be between 0 and 0.5"),
        (["--device", "abacus"], "device must be auto, cpu"),
        (["--dtype", "int8"], "dtype must be auto"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_told_on_stderr_with_status_2(
    arguments: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *changes]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("fcn-evaluate: ")
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("extra", [["--tile", "100"], ["--blend", "max"], ["--nonsense"]], ids=" ".join)
def test_arguments_that_cannot_be_parsed_exit_with_status_2(
    arguments: list[str], extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *extra])
    assert caught.value.code == 2
    assert extra[0] in capsys.readouterr().err
