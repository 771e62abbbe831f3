"""`fcn-check --weights`: the frames whose labels a network disagrees with, and whether it has seen them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.weights_file import Weights, load_weights, save_weights
from tests.support.images import make_photo
from tests.support.training.data_sets import write_frame
from training.commands.check import main
from training.data.split import get_split

COLORS = "classes: [background, circle, square, triangle]\nignore_index: 255\n"


@pytest.fixture
def sure(narrow: Weights, tmp_path: Path) -> Path:
    """The narrow network with a temperature that makes it sure of what it says."""
    path = tmp_path / "sure.safetensors"
    save_weights(path, narrow.tensors, replace(narrow.manifest, temperatures={"float32": 0.01}))
    return path


@pytest.fixture
def data(sure: Path, tmp_path: Path) -> Path:
    """Frames whose masks are what the network says, but for those of `c`, which say another class."""
    root = tmp_path / "data"
    segmenter = Segmenter(TorchRuntime(load_weights(sure), "cpu", "float32"))
    for seed, name in enumerate("abcdef"):
        pixels, nothing = make_photo(64, 96, seed=seed), np.zeros((64, 96), np.uint8)
        photo, mask = root / "images" / f"{name}.png", root / "masks" / f"{name}.png"
        write_frame(photo, mask, nothing, pixels)
        ids = segmenter(photo.read_bytes(), Options()).class_map
        write_frame(photo, mask, (ids + 1) % 4 if name == "c" else ids, pixels)
    (root / "train.txt").write_text("a\nb\nc\nd\n")
    (root / "val.txt").write_text("e\nf\n")
    (root / "classes.yaml").write_text(COLORS)
    return root


def lines(data: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main([str(data), "--weights", *options])
    printed = capsys.readouterr().out.splitlines()
    return printed[next(i for i, line in enumerate(printed) if "disagrees with" in line) :]


def test_the_wrong_label_is_named_with_its_classes_and_its_place(
    data: Path, sure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, first, *rest = lines(data, str(sure), capsys=capsys)
    assert head.startswith("labels that the network disagrees with most, 1 of 6 frames")
    assert first.startswith(f"  1. {data / 'masks' / 'c.png'}: labelled ")
    assert ", predicted " in first
    assert "x " in first
    assert any("may have been trained on the frames of 'train'" in line for line in rest)


def test_a_file_that_names_the_list_it_was_trained_on_has_seen_it(
    data: Path, sure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_weights(sure)
    labels = weights.manifest.labels
    digests = {name: {"frames": 1, "sha256": get_split(data, name, labels).digest} for name in ("train", "val")}
    other = tmp_path / "other.safetensors"
    save_weights(other, weights.tensors, replace(weights.manifest, training={"splits": digests}))
    printed = "\n".join(lines(data, str(other), capsys=capsys))
    assert "the network was trained on the frames of 'train', and has learnt some of their mistakes" in printed
    assert "the network was not trained on the frames of 'val'" in printed


def test_with_folds_each_frame_is_judged_by_the_network_of_its_fold(
    data: Path, sure: Path, narrow: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first fold's network knows no doubt, the second one's is never sure."""
    save_weights(tmp_path / "doubt.safetensors", narrow.tensors, replace(narrow.manifest, temperatures={"float32": 1000.0}))

    def write(**folds: int) -> Path:
        frames = [
            {"image_sha256": hashlib.sha256((data / "images" / f"{name}.png").read_bytes()).hexdigest(), "fold": fold}
            for name, fold in folds.items()
        ]
        file = tmp_path / "mine-folds.json"
        file.write_text(json.dumps({"folds": [{"weights": sure.name}, {"weights": "doubt.safetensors"}], "frames": frames}))
        return file

    head, first, *rest = lines(data, str(write(a=1, b=2, c=1, d=2, e=1)), capsys=capsys)
    assert "1 of 5 frames" in head
    assert "c.png" in first
    assert "  each frame is judged by the network of a fold that has not seen it" in rest
    assert any("1 frames are not in the file of folds" in line for line in rest)
    assert "0 of 5 frames" in lines(data, str(write(a=1, b=2, c=2, d=2, e=1)), capsys=capsys)[0]


def test_labels_of_a_part_of_the_classes_are_judged_by_name(data: Path, sure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames have a label of what the network says, but for a part of `c`; the network's other classes are background."""
    segmenter = Segmenter(TorchRuntime(load_weights(sure), "cpu", "float32"))
    names = segmenter.manifest.labels.names
    said = {path.stem: segmenter(path.read_bytes(), Options()).class_map for path in sorted((data / "images").iterdir())}
    shown = int(np.bincount(said["c"].ravel()).argmax())
    part = {0: 0, shown or 1: 1}
    for name, ids in said.items():
        mask = np.vectorize(lambda id_: part.get(id_, 0))(ids).astype(np.uint8)
        Image.fromarray(1 - mask if name == "c" else mask).save(data / "masks" / f"{name}.png")
    (data / "classes.yaml").write_text(f"classes: [Background, {names[shown or 1]}]\n")
    head, first, *rest = lines(data, str(sure), capsys=capsys)
    assert "1 of 6 frames" in head
    assert f"{data / 'masks' / 'c.png'}: labelled " in first
    assert any("2 of its 4 are none of them and count as Background: " in line for line in rest)
    (data / "classes.yaml").write_text("classes: [background, thing]\n")
    class_map = ",".join(["thing=thing", f"{names[shown or 1]}=thing", "*=background"])
    _, first, *_ = lines(data, str(sure), "--class-map", class_map, capsys=capsys)
    assert f"{data / 'masks' / 'c.png'}: labelled " in first
    assert main([str(data), "--weights", str(sure)]) == 2
    assert "none of the labels' 'thing'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "{", '{"folds": [], "frames": []}', '{"folds": [], "frames": [{"fold": 1}]}'])
def test_a_json_file_of_another_kind_is_refused_by_name(
    text: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    assert main([str(data), "--weights", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--worst", "3"], ["--weights", "narrow", "--worst", "0"]])
def test_worst_goes_with_weights(options: list[str], data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(data), *options]) == 2
    assert "--worst must be at least 1, and goes with --weights FILE" in capsys.readouterr().err
