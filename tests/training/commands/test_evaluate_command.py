"""`fcn-evaluate`: scores on the terminal or recorded in a file, and errors with status 2."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import validate
from PIL import Image

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.labels import numbered_labels
from model.weights_file import Weights, load_weights, save_weights
from tests.support.checkout import ROOT
from tests.support.training.invocations import evaluate, score_matrix, split_of_shapes
from training.commands.evaluate import main
from training.commands.evaluate_arguments import check_arguments, parser
from training.scoring.evaluate import conditions, table
from training.scoring.frame_report import write_picture
from training.scoring.metrics import ConfusionMatrix


def test_the_table_is_printed_with_its_conditions(
    arguments: list[str], shapes: Path, narrow: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    *rows, drawn, rough, near, where = capsys.readouterr().out.splitlines()
    split = split_of_shapes(shapes)
    assert "\n".join(rows) == table(score_matrix(narrow, shapes), split.labels.names)
    expected_conditions = conditions(Segmenter(TorchRuntime(narrow, "cpu", "float32")), Options(tile=(64, 64)))
    assert re.fullmatch(
        r"mean IoU, 95% interval \(bootstrap over 4 frames\): 0\.\d{3} to 0\.\d{3}; few frames show (\w+ \(\d\)(, )?)+", drawn
    )
    assert rough.startswith("A rough score, over 4 frames: on as many others of this kind it may well be 0.")
    assert re.fullmatch(r"mean IoU near borders, within 2% of the diagonal: 0\.\d{3}", near)
    assert where == f"narrow {narrow.sha256[:16]}, 4 frames (list {split.digest[:16]}), {expected_conditions}"


def test_options_reach_the_served_path(
    arguments: list[str], shapes: Path, narrow: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["--class-map", "0=0,*=1", "--side", "native", "--split", "train", "--blend", "hann", "--overlap", "0.5"]
    assert main([*arguments, *extra]) == 0
    matrix = score_matrix(narrow, shapes, "0=0,*=1", "train", overlap=0.5, blend="hann", side="native")
    assert table(matrix, ["background", "circle"]) in capsys.readouterr().out


def test_a_record_keeps_the_tensors_and_takes_the_advice_that_it_was_scored_with(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copyfile(arguments[5], file)
    plain = [*arguments[:4], "--weights", str(file), "--device", "cpu", "--runtime", "torch"]
    assert main([*plain, "--record", "shapes, val"]) == 0
    assert main([*plain, "--record", "shapes, train", "--split", "train", "--advise", "96", "96", "--advise-tile", "64"]) == 0
    weights = load_weights(file)
    assert list(weights.manifest.scores) == ["shapes, val", "shapes, train"]
    assert (weights.manifest.preprocessing.side, weights.manifest.preprocessing.tile) == ((96, 96), (64, 64))
    assert "side auto (96-96), tile 64x64" in weights.manifest.scores["shapes, train"]["conditions"]
    advised = replace(narrow, manifest=weights.manifest)
    assert weights.manifest.scores["shapes, train"]["iou"] == score_matrix(advised, shapes, split="train").scores()["iou"]
    assert all(np.array_equal(weights.tensors[name], tensor) for name, tensor in narrow.tensors.items())
    low, high = weights.manifest.scores["shapes, val"]["mean_iou_95"]
    card = file.with_suffix(".md").read_text()
    assert f"{low:.3f} to {high:.3f}" in card
    assert weights.sha256 in card


def test_calibration_is_told_and_not_stored(arguments: list[str], narrow: Weights, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--calibrate"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"temperature \d+\.\d+, fitted on 4 frames of val\nexpected calibration error: 0\.\d{4} without", printed)
    assert "at the file's temperature, " in printed
    assert load_weights(Path(arguments[5])).sha256 == narrow.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--note", "A note."], "--note has no effect without --record"),
        (["--worst", "3"], "--worst has no effect without --pictures"),
        (["--worst", "-1", "--pictures", "worst"], "worst must be at least 1, got -1"),
        (["--record", "val", "--calibrate"], "--record scores and records one file; give --calibrate without it"),
        (["--shifts", "2", "--runtime", "openvino"], "in PyTorch; leave out --runtime"),
        (["--record", "val", "--side", "96"], "--record scores the file as it is served"),
        (["--record", "val", "--precision", "int8"], "in each of its precisions; give it without"),
        (["--calibrate", "--pictures", "x", "--against", "narrow"], "scores nothing; give --against and --pictures without it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_have_no_effect_are_named(changes: list[str], message: str) -> None:
    args = parser().parse_args(["--data", "data", *changes])
    with pytest.raises(ValueError, match=message):
        check_arguments(args)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--labels", "voc"], "circle, square, triangle, and none of the labels' 'aeroplane', 'bicycle'"),
        (["--calibrate", "--class-map", "0=0,*=1"], "own classes, background, circle, square, triangle, got"),
        (["--precision", "int8"], "int8 is for OpenVINO"),
        (["--shifts", "3"], "shifts must divide the scores' stride of 8, got 3"),
        (["--advise", "512", "256"], "32 <= low <= high"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_a_line_with_status_2(
    arguments: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *changes]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("fcn-evaluate: ")
    assert message in printed.err
    assert printed.out == ""


def test_a_class_that_labels_without_background_lack_is_wrong_where_a_label_is(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network has other names of two classes."""
    manifest = replace(narrow.manifest, labels=numbered_labels(["ground", "circle", "square", "tree"]))
    save_weights(tmp_path / "renamed.safetensors", narrow.tensors, manifest)
    renamed = [*arguments[:5], str(tmp_path / "renamed.safetensors"), *arguments[6:]]
    file, files = tmp_path / "scores.json", ["--pictures", str(tmp_path / "pictures"), "--json", str(tmp_path / "scores.json")]
    assert main([*renamed, "--class-map", "square=square,circle=circle", *files]) == 0
    printed = capsys.readouterr().out
    own = score_matrix(narrow, shapes).counts[[2, 1]]
    expected = np.stack([own[:, 2], own[:, 1], own[:, 0] + own[:, 3]], 1)
    assert table(ConfusionMatrix(np.pad(expected, ((0, 1), (0, 0)))), ["square", "circle", "another class"]) in printed
    line = "2 of its 4 are none of them and count as another class, which is wrong where there is a label: ground, tree"
    assert line in printed
    assert json.loads(file.read_text())["conditions"].endswith(line)
    assert main([*renamed, "--class-map", "square=round,circle=round,*=rest", "--against", arguments[5]]) == 0
    assert "count as rest: ground, tree" in capsys.readouterr().out


def test_by_default_the_export_is_scored_as_the_service_runs_it(
    arguments: list[str], shapes: Path, narrow: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments[:8], "--device", "cpu"]) == 0
    *rows, where = capsys.readouterr().out.splitlines()
    assert "; cpu float32, openvino " in where
    (mean_iou,) = [float(line.split()[2]) for line in rows if re.match("mean IoU +0", line)]
    assert mean_iou == pytest.approx(score_matrix(narrow, shapes).mean_iou, abs=0.01)


def test_a_score_with_shift_and_stitch_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--shifts", "2"]) == 0
    assert "; shift-and-stitch 2x2" in capsys.readouterr().out


def test_frames_are_listed_with_the_worst_first_and_the_worst_are_shown(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path
) -> None:
    file, folder = tmp_path / "new" / "scores.json", tmp_path / "worst"
    assert main([*arguments, "--json", str(file), "--pictures", str(folder), "--worst", "2"]) == 0
    document = json.loads(file.read_text())
    whole = score_matrix(narrow, shapes)
    assert document["mean_iou"] == pytest.approx(whole.mean_iou, abs=1e-6)
    assert document["mean_iou_95"][0] < document["mean_iou"] < document["mean_iou_95"][1]
    assert (document["weights"], document["sha256"]) == ("narrow", narrow.sha256)
    assert document["classes"] == narrow.manifest.labels.names
    frames = document["frames"]
    assert sorted(frame["name"] for frame in frames) == [f"val_{index:03d}" for index in range(4)]
    means = [frame["mean_iou"] for frame in frames]
    assert means == sorted(means)
    split = split_of_shapes(shapes)
    index = [frame.name for frame in split.frames].index(frames[0]["name"])
    only = replace(split, frames=split.frames[index : index + 1])
    alone = evaluate(Segmenter(TorchRuntime(narrow, "cpu", "float32")), only, Options((64, 64)))
    assert frames[0]["iou"] == alone.scores()["iou"]
    pictures = sorted(path.name for path in folder.iterdir())
    assert pictures == [f"{rank:03d}-{frame['name']}.png" for rank, frame in enumerate(frames[:2], 1)]
    with Image.open(folder / pictures[0]) as picture:
        pixels = np.asarray(picture)
    height, width = split.image(index).shape[:2]
    assert pixels.shape == (height, 3 * width + 16, 3)
    assert np.array_equal(pixels[:, :width], split.image(index))
    palette = np.asarray(split.labels.palette, np.uint8)
    assert np.array_equal(pixels[:, width + 8 : 2 * width + 8], palette[split.mask(index)])


def test_two_networks_are_compared_on_the_same_frames(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.json"
    qualities = ["--quality", "high", "--against-quality", "standard"]
    assert main([*arguments, *qualities, "--against", arguments[5], "--json", str(file)]) == 0
    document = json.loads(file.read_text())
    validate(document, json.loads((ROOT / "docs" / "schemas" / "scores.schema.json").read_text()))
    lines = capsys.readouterr().out.splitlines()
    assert document["against"]["mean_iou"] == pytest.approx(score_matrix(narrow, shapes).mean_iou, abs=1e-6)
    difference = document["mean_iou"] - document["against"]["mean_iou"]
    low, high = document["against"]["difference_95"]["mean_iou"]
    assert low <= difference <= high
    row = next(line for line in lines[::-1] if line.startswith("mean IoU"))
    assert f"{difference:+.3f}  {low:+.3f} to {high:+.3f}" in row
    assert lines[-1].startswith(f"against narrow {narrow.sha256[:16]}, 4 frames")
    assert "quality" not in lines[-1]


def test_a_picture_of_a_frame_with_the_longest_name_is_written(shapes: Path, tmp_path: Path) -> None:
    split = split_of_shapes(shapes)
    name = "\u00e4" * 125  # 250 bytes, to which .png comes
    path = write_picture(tmp_path, 1, replace(split, frames=(replace(split.frames[0], name=name),)), 0, split.mask(0))
    assert path.is_file()
    assert path.name.startswith("001-\u00e4\u00e4")
