"""`fcn-evaluate`: scores on the terminal or recorded in a file, and errors with status 2."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
from model.metrics import ConfusionMatrix
from model.networks.builder import build
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import Weights, load_weights, save_weights
from tests.support.training.invocations import score_matrix
from training.commands.evaluate import main
from training.commands.evaluate_arguments import check_arguments, parser
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import read_labels
from training.scoring.evaluate import conditions, table
from training.survey.datasets import get_split


def test_the_table_is_printed_with_its_conditions(
    arguments: list[str], shapes: Path, narrow: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    *rows, drawn, rough, near, where = capsys.readouterr().out.splitlines()
    split = get_split(shapes, "val", read_labels(str(shapes / "classes.json")))
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
        (["--high"], "--high has no effect without --record"),
        (["--note", "A note."], "--note has no effect without --record"),
        (["--worst", "3"], "--worst has no effect without --pictures"),
        (["--against-quality", "high"], "--against-quality has no effect without --against"),
        (["--worst", "-1", "--pictures", "worst"], "worst must be at least 1, got -1"),
        (["--record", "val", "--calibrate"], "--record scores and records one file; give --calibrate without it"),
        (["--shifts", "2", "--runtime", "openvino"], "in PyTorch; leave out --runtime"),
        (["--record", "val", "--side", "96"], "--record scores the file as it is served"),
        (["--record", "val", "--precision", "int8"], "in each of its precisions; give it without"),
        (
            ["--calibrate", "--pictures", "worst", "--against", "narrow"],
            "scores nothing; give --against, --pictures without it",
        ),
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
        (["--side", "many"], "side must be auto, native or 32 to 16384, got 'many'"),
        (
            ["--calibrate", "--class-map", "0=0,*=1"],
            "own classes, background, circle, square, triangle, got",
        ),
        (["--class-map", "circle=round,square=angular"], "names every class: background, triangle missing; add *=..."),
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


def test_a_file_of_fewer_classes_is_scored_by_the_mapping_it_was_trained_with(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = read_labels(str(shapes / "classes.json"))
    mapping = parse_class_mapping("0=0,2=1,*=0", labels)
    net = build("fcn8s", "mobilenet_v2", 2, output_stride=16, head_width=16, width=0.1).eval()
    net.get_parameter("score_fr.bias").data[:] = torch.tensor([-1000.0, 1000.0])
    manifest = Manifest(net.architecture, mapping.labels, Preprocessing(side=(96, 96)), "none")
    save_weights(tmp_path / "square.safetensors", half_tensors(net), manifest)
    arguments = ["--data", str(shapes), "--weights", str(tmp_path / "square.safetensors"), "--device", "cpu"]
    assert main([*arguments, "--class-map", "0=0,2=1,*=0"]) == 0
    printed = capsys.readouterr().out
    assert float(printed.split("square")[1].split()[0]) > 0
    assert float(printed.split("background")[1].split()[0]) == 0
    assert main([*arguments, "--class-map", "0=0,3=1,*=0"]) == 2
    assert "the network has the classes background, square, and none of the labels' 'triangle'" in capsys.readouterr().err


def part_of_shapes(shapes: Path, folder: Path, names: list[str], others: int = 0) -> Path:
    """A copy of the frames whose masks hold these classes alone, in this order; other classes have another value."""
    own = read_labels(str(shapes / "classes.json"))
    table = np.full(256, others, np.uint8)
    table[[own.names.index(name) for name in names]] = np.arange(len(names))
    shutil.copytree(shapes, folder)
    split = get_split(folder, "val", own)
    for index, frame in enumerate(split.frames):
        Image.fromarray(table[split.mask(index)]).save(frame.mask)
    (folder / "classes.json").write_text(json.dumps({"classes": names}))
    return folder


def test_labels_of_a_part_of_the_classes_are_scored_by_name(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = part_of_shapes(shapes, tmp_path / "part", ["background", "square"])
    file = tmp_path / "scores.json"
    assert main(["--data", str(data), *arguments[4:], "--json", str(file), "--pictures", str(tmp_path / "pictures")]) == 0
    printed = capsys.readouterr().out
    expected = score_matrix(narrow, shapes, "background=background,square=square,*=background")
    assert table(expected, ["background", "square"]) in printed
    line = "classes are those of the labels by name; 2 of its 4 are none of them and count as background: circle, triangle"
    assert line in printed
    facts = json.loads(file.read_text())
    assert facts["classes"] == ["background", "square"]
    assert facts["conditions"].endswith(line)
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_a_class_that_labels_without_background_lack_is_wrong_where_a_label_is(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = part_of_shapes(shapes, tmp_path / "part", ["square", "circle"], others=255)
    assert main(["--data", str(data), *arguments[4:], "--against", "voc-fcn8s-mobilenet-v2"]) == 2
    assert "none of the labels' 'square', 'circle'" in capsys.readouterr().err
    assert main(["--data", str(data), *arguments[4:]]) == 0
    printed = capsys.readouterr().out
    own = score_matrix(narrow, shapes).counts[[2, 1]]
    expected = ConfusionMatrix(3)
    expected.counts[:2] = np.stack([own[:, 2], own[:, 1], own[:, 0] + own[:, 3]], 1)
    assert table(expected, ["square", "circle", "another class"]) in printed
    assert "2 of its 4 are none of them and count as another class, which is wrong where there is a label" in printed
    class_map = "square=round,circle=round,*=rest"
    assert main(["--data", str(data), *arguments[4:], "--against", arguments[5], "--class-map", class_map]) == 0
    assert "count as rest: background, triangle" in capsys.readouterr().out


def test_by_default_the_export_is_scored_as_the_service_runs_it(
    arguments: list[str], shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments[:8], "--device", "cpu"]) == 0
    *rows, where = capsys.readouterr().out.splitlines()
    assert "; cpu float32, openvino " in where
    assert main(arguments) == 0
    by_torch = capsys.readouterr().out.splitlines()
    means = [float(line.split()[2]) for line in (*rows, *by_torch) if re.match("mean IoU +0", line)]
    assert means[0] == pytest.approx(means[1], abs=0.01)


def test_a_score_with_shift_and_stitch_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--shifts", "2"]) == 0
    assert "; shift-and-stitch 2x2" in capsys.readouterr().out
