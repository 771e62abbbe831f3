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

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.manifest import Manifest
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


def test_an_advised_range_can_be_tried(
    arguments: list[str], shapes: Path, narrow: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--advise", "160", "192"]) == 0
    preprocessing = replace(narrow.manifest.preprocessing, side=(160, 192))
    advised = replace(narrow, manifest=replace(narrow.manifest, preprocessing=preprocessing))
    assert table(score_matrix(advised, shapes), narrow.manifest.labels.names) in (out := capsys.readouterr().out)
    assert "side auto (160-192)" in out


def test_a_score_is_recorded_beside_the_others_and_the_tensors_stay(
    arguments: list[str], shapes: Path, narrow: Weights, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copyfile(arguments[5], file)
    record = ["--record-in", str(file), "--record-as"]
    assert main([*arguments, *record, "shapes, val"]) == 0
    assert main([*arguments, *record, "shapes, train", "--split", "train", "--advise", "96", "96"]) == 0
    weights = load_weights(file)
    assert list(weights.manifest.scores) == ["shapes, val", "shapes, train"]
    score = weights.manifest.scores["shapes, val"]
    assert {name: score[name] for name in ("iou", "mean_iou", "pixel_accuracy")}.items() <= score_matrix(
        narrow, shapes
    ).scores().items()
    assert score["classes"] == narrow.manifest.labels.names
    low, high = score["mean_iou_95"]
    assert low < score["mean_iou"] < high
    assert f"| 95% interval of the mean IoU | {low:.3f} to {high:.3f} |" in file.with_suffix(".md").read_text()
    assert "tile 64x64" in score["conditions"]
    assert weights.manifest.preprocessing.side == (96, 96)
    assert set(weights.tensors) == set(narrow.tensors)
    assert all(np.array_equal(weights.tensors[name], tensor) for name, tensor in narrow.tensors.items())
    assert "shapes, train" in file.with_suffix(".md").read_text()
    assert weights.sha256 in file.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--weights", "nothing"], "no weights file 'nothing'"),
        (["--split", "test"], "test.txt is not there"),
        (["--labels", "nothing"], "labels must be voc, camvid, or a JSON or YAML file"),
        (["--labels", "voc"], "triangle, the labels background, aeroplane"),
        (["--class-map", "0:1"], "a class mapping is written"),
        (["--side", "many"], "side must be auto, native or 32 to 16384, got 'many'"),
        (["--side", "0"], "side must be auto, native or 32 to 16384, got '0'"),
        (["--threads", "-1"], "threads must be 0 or more, got -1"),
        (["--calibrate", "--shifts", "2"], "give --calibrate without --shifts, --advise and"),
        (["--overlap", "0.7"], "overlap must be between 0 and 0.5"),
        (["--device", "abacus"], "device must be auto, cpu"),
        (["--precision", "int8"], "int8 is for OpenVINO"),
        (["--advise", "512", "256"], "32 <= low <= high"),
        (["--record-as", "mine"], "give --record-in FILE with --record-as"),
        (["--record-in", "a.safetensors", "--calibrate"], "--record-in must be a weights file, got a.safetensors"),
        (["--record-in", "README.md"], "give --record-as NAME, or --calibrate, with --record-in"),
        (["--calibrate", "--class-map", "0=0,*=1"], "give --calibrate without --class-map"),
        (
            ["--calibrate", "--labels", "voc"],
            "circle, square, triangle, the labels background, aeroplane",
        ),
        (["--against-quality", "high"], "give --against WEIGHTS with --against-quality"),
        (["--against", "nothing"], "no weights file 'nothing'"),
        (["--group", "one"], "the frames of 'val' are all of one group, 'val'"),
        (["--group", "each", "--calibrate"], "--group each prints a table; give --calibrate with one group"),
        (["--group", "each", "--record", "val"], "--group each prints a table; give --record with one group"),
        (["--high"], "give --record NAME with --high"),
        (["--group-pattern", "x"], "give --group NAME with --group-pattern"),
        (["--shifts", "2", "--runtime", "openvino"], "leave out --runtime"),
        (
            ["--record", "val"],
            "--record scores the file as it is served; give --record-in FILE --record-as NAME",
        ),
        (["--record", "val", "--calibrate"], "--record scores and records one file; give --calibrate without it"),
        (["--calibrate", "--json", "scores.json"], "--calibrate fits a temperature and scores nothing; give --json without it"),
        (
            ["--calibrate", "--pictures", "worst", "--against", "narrow"],
            "--calibrate fits a temperature and scores nothing; give --against, --pictures without it",
        ),
        (
            ["--calibrate", "--record-in", "README.md", "--record-as", "val"],
            "--calibrate fits a temperature and scores nothing; give --record-as without it",
        ),
        (["--calibrate", "--note", "A note."], "give --record-in FILE or --record NAME with --note"),
        (["--note", "A note."], "give --record-in FILE or --record NAME with --note"),
        (["--worst", "3"], "give --pictures FOLDER with --worst"),
        (["--calibrate", "--worst", "3"], "give --pictures FOLDER with --worst"),
        (["--record", "val", "--worst", "3"], "give --pictures FOLDER with --worst"),
        (["--worst", "0", "--pictures", "worst"], "worst must be at least 1, got 0"),
        (["--shifts", "3"], "shifts must divide the scores' stride of 8, got 3"),
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


def test_a_record_is_of_every_precision() -> None:
    args = parser().parse_args(["--data", "data", "--record", "val", "--precision", "int8"])
    with pytest.raises(ValueError, match="in each of its precisions; give it without --precision"):
        check_arguments(args)


@pytest.mark.parametrize("extra", [["--tile", "100"], ["--blend", "max"], ["--nonsense"]], ids=" ".join)
def test_arguments_that_cannot_be_parsed_exit_with_status_2(
    arguments: list[str], extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *extra])
    assert caught.value.code == 2
    assert extra[0] in capsys.readouterr().err


def test_calibration_is_stored_told_and_served(
    arguments: list[str], narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "copy.safetensors"
    save_weights(file, narrow.tensors, narrow.manifest)
    command = [*arguments, "--weights", str(file), "--calibrate", "--record-in", str(file)]
    assert main(command) == 2
    assert "with --record-in without --side, --tile" in capsys.readouterr().err
    arguments[6:8] = []  # --tile
    command = [*arguments, "--weights", str(file), "--calibrate", "--record-in", str(file), "--note", "Fitted on shapes."]
    assert main(command) == 0
    weights = load_weights(file)
    temperature = weights.manifest.temperature()
    assert temperature is not None
    assert temperature != 1
    calibration = weights.manifest.training["calibration"]
    assert calibration["temperature"] == temperature
    assert (calibration["frames"], calibration["blocks"], calibration["split"]) == (4, 4, "val")
    assert weights.manifest.training["notes"] == ["Fitted on shapes."]
    assert (
        f"temperature {temperature}, fitted on 4 frames of val\n"
        f"expected calibration error: {calibration['ece_before']:.4f} without a temperature, "
        f"{calibration['ece_after']:.4f} with the temperature fitted on the other blocks (4 blocks)\n"
    ) in capsys.readouterr().out
    assert f"| float32 | {temperature:.3f} | 4 of val | 4 blocks |" in file.with_suffix(".md").read_text()
    assert main([*arguments, "--calibrate", "--record-in", str(file)]) == 2
    assert "give --weights and --record-in the same one" in capsys.readouterr().err


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
    assert "the network has the classes background, square, the labels background, circle" in capsys.readouterr().err


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


@pytest.mark.long
def test_a_temperature_of_another_precision_is_stored_beside_float32s(
    arguments: list[str], narrow: Weights, tmp_path: Path
) -> None:
    file = tmp_path / "copy.safetensors"
    save_weights(file, narrow.tensors, replace(narrow.manifest, temperatures={"float32": 1.5}))
    arguments[6:8] = []  # --tile
    changes = ["--weights", str(file), "--calibrate", "--record-in", str(file), "--precision", "bfloat16"]
    assert main([*arguments, *changes]) == 0
    manifest = load_weights(file).manifest
    assert manifest.temperature() == 1.5
    assert manifest.temperature("bfloat16") == manifest.training["calibration_bfloat16"]["temperature"] != 1.5


@pytest.mark.long
def test_what_was_changed_of_the_network_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "shift-and-stitch" not in capsys.readouterr().out
    assert main([*arguments, "--shifts", "2"]) == 0
    assert "; shift-and-stitch 2x2" in capsys.readouterr().out


def test_a_score_of_another_file_says_so(arguments: list[str], narrow: Weights, tmp_path: Path) -> None:
    """As the start's, which stands beside that of what was made of it."""
    file = tmp_path / "copy.safetensors"
    save_weights(file, narrow.tensors, replace(narrow.manifest, license="another"))
    assert main([*arguments, "--record-in", str(file), "--record-as", "the start"]) == 0
    assert main([*arguments, "--weights", str(file), "--record-in", str(file), "--record-as", "val"]) == 0
    scores = load_weights(file).manifest.scores
    assert scores["the start"]["conditions"].startswith(f"of narrow {narrow.sha256[:16]}, not of this file; 4 frames (list ")
    assert scores["val"]["conditions"].startswith("4 frames (list ")


def test_classes_in_another_order_are_not_scored(
    arguments: list[str], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = read_labels(str(shapes / "classes.json")).to_list()
    labels[1]["name"], labels[2]["name"] = labels[2]["name"], labels[1]["name"]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": labels}))
    assert main([*arguments, "--labels", str(tmp_path / "classes.json")]) == 2
    assert (
        "the labels background, square, circle, triangle: both must have the same in the same order" in capsys.readouterr().err
    )


def test_a_mapping_says_what_becomes_of_every_class_that_may_be_predicted(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--class-map", "circle=round,square=angular"]) == 2
    assert "names every class: background, triangle missing; add *=..." in capsys.readouterr().err
