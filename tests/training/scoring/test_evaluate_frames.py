"""`fcn-evaluate` over single frames: lists, pictures, other weights beside."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.weights_file import Weights
from tests.support.training.invocations import evaluate, score_matrix
from training.commands.evaluate import main
from training.data.label_files import read_labels
from training.survey.datasets import get_split


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
    split = get_split(shapes, "val", read_labels(str(shapes / "classes.json")))
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
    assert (
        main([*arguments, "--quality", "high", "--against", arguments[5], "--against-quality", "standard", "--json", str(file)])
        == 0
    )
    document = json.loads(file.read_text())
    lines = capsys.readouterr().out.splitlines()
    assert document["against"]["mean_iou"] == pytest.approx(score_matrix(narrow, shapes).mean_iou, abs=1e-6)
    difference = document["mean_iou"] - document["against"]["mean_iou"]
    low, high = document["against"]["difference_95"]["mean_iou"]
    assert low <= difference <= high
    row = next(line for line in lines[::-1] if line.startswith("mean IoU"))
    assert f"{difference:+.3f}  {low:+.3f} to {high:+.3f}" in row
    assert lines[-1].startswith(f"against narrow {narrow.sha256[:16]}, 4 frames")
    assert "quality" not in lines[-1]


def test_a_picture_of_a_frame_with_the_longest_name_is_written(arguments: list[str], shapes: Path, tmp_path: Path) -> None:
    name = "\u00e4" * 125  # 250 bytes, to which .png comes
    data = tmp_path / "data"
    for folder, source in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (data / folder).mkdir(parents=True)
        file = next((next(shapes.rglob(source))).glob("val_000.*"))
        shutil.copyfile(file, data / folder / f"{name}{file.suffix}")
    (data / "val.txt").write_text(name, encoding="utf-8")
    arguments[1] = str(data)
    assert main([*arguments, "--pictures", str(tmp_path / "worst")]) == 0
    (picture,) = (tmp_path / "worst").iterdir()
    assert picture.name.startswith("001-\u00e4\u00e4")
