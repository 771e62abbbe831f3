"""`fcn-convert` as a command: its file and card, what it prints, its limits, and the file in the other commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.main import main as segment
from model.inference.runtimes.openvino_runtime import read_export
from tests.support.checkout import ROOT
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.training.conversions import converted
from tests.support.training.foreign_networks import IMAGENET, foreign_network
from tests.support.variants import long
from training.commands.convert import main
from training.commands.evaluate import main as evaluate
from training.commands.export import main as export
from training.data.demo import write_demo_data
from training.data.label_files import read_labels

Convert = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fcn_convert(capfd: pytest.CaptureFixture[str]) -> Convert:
    """Runs the command; gives its exit status, and what it wrote to stdout and stderr, its child included."""

    def convert(*arguments: object) -> tuple[int, str, str]:
        return main([*map(str, arguments)]), *capfd.readouterr()

    return convert


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"classes": ["background", "leaf", "stem"]}))
    return path


def test_a_converted_file_is_served_like_our_own(tmp_path: Path, classes: Path, fcn_convert: Convert) -> None:
    source, target = foreign_network(tmp_path / "net.onnx"), tmp_path / "plants.onnx"
    status, out, err = fcn_convert(source, "--classes", classes, *IMAGENET, "--license", "MIT", "-o", target)
    assert (status, err) == (0, "")
    assert "1.00000 of the classes are the original's, on 6 pictures that show 3 classes" in out
    assert f"wrote {target}" in out
    assert "of the network's own classes on a photo of 500x333 (worst: " in out
    card = target.with_suffix(".md").read_text()
    assert "A network of 3 classes, converted from `net.onnx`. Licence: MIT." in card
    assert "0 background, 1 leaf, 2 stem" in card
    photo, answer = tmp_path / "photo.png", tmp_path / "answer.json"
    photo.write_bytes(encode(make_photo(60, 90)))
    assert segment([str(photo), "--weights", str(target), "--format", "json", "-o", str(answer)]) == 0
    document = json.loads(answer.read_text())
    assert document["model"]["name"] == "plants"
    assert sum(entry["pixels"] for entry in document["classes"]) == 60 * 90


def test_a_question_ends_the_command_with_2_and_writes_nothing(tmp_path: Path, classes: Path, fcn_convert: Convert) -> None:
    source = foreign_network(tmp_path / "net.onnx")
    status, _, err = fcn_convert(source, "--classes", classes, "-o", tmp_path / "plants.onnx")
    assert status == 2
    assert "nothing says how the network wants its pixels" in err
    assert "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.json", "net.onnx"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "plants.safetensors"], "must end in .onnx"),
        (["-o", "there.onnx"], "already there: there.onnx"),
        (["-o", "a.onnx", "--mean", "0,0,0"], "--mean and --std go together"),
        (["-o", "a.onnx", "--scale", "1/255"], "goes with --mean and --std"),
        (["-o", "a.onnx", "--memory-mb", "5"], "must be 256 to"),
        (["-o", "a.onnx", "--side", "900,100"], "two numbers from 32 to 16384, the lower one first"),
        (["-o", "./net.onnx", "--force"], "is the network itself"),
        (["-o", "missing/a.onnx"], "the folder missing is not there"),
        (["-o", "a.onnx", "--photos", "net.onnx"], "must be a folder"),
    ],
)
def test_arguments_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    foreign_network(tmp_path / "net.onnx")
    (tmp_path / "there.onnx").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["net.onnx", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends the child with its parent")
@pytest.mark.parametrize("sent", [signal.SIGTERM, *long(signal.SIGKILL)])
def test_the_child_ends_with_the_command(tmp_path: Path, classes: Path, sent: signal.Signals) -> None:
    source = foreign_network(tmp_path / "net.onnx", width=4096)
    arguments = [source, "--classes", classes, *IMAGENET, "-o", tmp_path / "plants.onnx"]
    command = [sys.executable, "-m", "training.commands.convert", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        parent.stdout.readline()  # the child has read the input
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(sent)
        parent.wait(HANG_S)
        wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.json", "net.onnx"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize(
    "limit",
    [
        ["--cpu-seconds", "1"],
        # ends in ONNX Runtime, in protobuf, in OpenVINO, in NumPy: which of them depends on the machine
        ["--memory-mb", "300"],
        *long(*(["--memory-mb", memory] for memory in ("260", "480", "800"))),
    ],
)
def test_a_network_that_takes_too_much_ends_its_own_process(
    tmp_path: Path, classes: Path, limit: list[str], fcn_convert: Convert
) -> None:
    source = foreign_network(tmp_path / "net.onnx", width=4096)
    status, _, err = fcn_convert(source, "--classes", classes, *IMAGENET, "-o", tmp_path / "plants.onnx", *limit)
    assert status == 2
    assert "Traceback" not in err
    assert limit[0] in err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.json", "net.onnx"]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize("option", ["--memory-mb", "--cpu-seconds"])
def test_whole_pictures_that_take_too_much_do_not_undo_the_file(
    tmp_path: Path, classes: Path, option: str, fcn_convert: Convert
) -> None:
    source, target, value = foreign_network(tmp_path / "net.onnx", width=512), tmp_path / "plants.onnx", 2500
    if option == "--cpu-seconds":  # three quarters of the time are that of whole pictures
        start = os.times()
        fcn_convert(source, "--classes", classes, *IMAGENET, "-o", tmp_path / "unlimited.onnx")
        value = round((os.times().children_user - start.children_user) / 2)
    status, out, err = fcn_convert(source, "--classes", classes, *IMAGENET, "-o", target, option, value)
    assert status == 0
    assert f"wrote {target}" in out
    assert "not compared" in out + err
    assert read_export(target).manifest.training["proof"]["agreement"] >= 0.999


@pytest.fixture
def shapes(tmp_path: Path) -> tuple[Path, Path]:
    """A converted network of the generated shapes' classes, and the shapes."""
    data = tmp_path / "shapes"
    write_demo_data(data, train=3, val=3)
    labels = read_labels(str(data / "classes.json"))
    (tmp_path / "net").mkdir()
    source = foreign_network(tmp_path / "net" / "net.onnx", classes=len(labels), stride=4)
    converted(source, labels=labels)
    return source.with_name("converted.onnx"), data


def test_scores_are_recorded_in_the_file_itself(shapes: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, data = shapes
    before = read_export(path)
    arguments = ["--weights", str(path), "--data", str(data), "--labels", str(data / "classes.json"), "--threads", "1"]
    assert evaluate([*arguments, "--record", "shapes, val"]) == 0
    after = read_export(path)
    assert f"recorded in {path}" in capsys.readouterr().out
    assert after.network_sha256 == before.network_sha256
    assert after.manifest.scores["shapes, val"]["mean_iou"] is not None
    assert after.manifest.temperatures
    assert "| shapes, val |" in path.with_suffix(".md").read_text()


@pytest.mark.long
def test_int8_is_made_of_the_file_itself_and_scored_beside_it(
    shapes: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = shapes
    assert export(["--weights", str(path), "--int8", "--calibration", str(data / "JPEGImages")]) == 0
    int8 = path.with_name("converted.int8.onnx")
    assert read_export(int8).manifest.architecture == read_export(path).manifest.architecture
    arguments = ["--weights", str(path), "--data", str(data), "--labels", str(data / "classes.json"), "--threads", "1"]
    assert evaluate([*arguments, "--record", "shapes, val"]) == 0
    assert read_export(int8).manifest.scores == read_export(path).manifest.scores
    assert len(read_export(path).manifest.scores) == 2
    assert export(["--weights", str(path), "--int8", "--calibration", str(data / "JPEGImages")]) == 2
    assert "already there" in capsys.readouterr().err
    monkeypatch.setattr("training.publishing.quantisation.KEPT", 0)  # so another network is made
    assert export(["--weights", str(path), "--int8", "--force", "--calibration", str(data / "JPEGImages")]) == 0
    assert len(read_export(path).manifest.scores) == 1


def test_a_converted_file_has_no_other_exports(shapes: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert export(["--weights", str(shapes[0])]) == 2
    assert "of exports, there are --int8 and --for alone" in capsys.readouterr().err
