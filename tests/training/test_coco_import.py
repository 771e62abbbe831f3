"""COCO's JSON becomes a folder of images and masks that `fcn-train` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from tests.conftest import make_photo
from training.coco_import import main
from training.datasets import get_split
from training.label_files import find_labels

HEIGHT, WIDTH = 40, 60
SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
INNER = [15.0, 15.0, 20.0, 15.0, 20.0, 20.0, 15.0, 20.0]


def entry(category: int, segmentation: Any, image: int = 7, crowd: int = 0) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


@pytest.fixture
def document() -> dict[str, Any]:
    """One image with a small leaf on a large stem, the leaf first; and one without objects. Ids leave gaps."""
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "sub/b.jpg"}]
    return {
        "images": [image | {"height": HEIGHT, "width": WIDTH} for image in images],
        "categories": [{"id": 5, "name": "stem"}, {"id": 2, "name": "leaf"}],
        "annotations": [entry(2, [INNER]), entry(5, [SQUARE])],
    }


@pytest.fixture
def file(document: dict[str, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg"):
        Image.fromarray(make_photo(HEIGHT, WIDTH)).save(folder / name)
    (folder / "labels.json").write_text(json.dumps(document))
    return folder / "labels.json"


def masks(out: Path, split: str = "") -> dict[str, Any]:
    return {path.stem: np.asarray(Image.open(path)) for path in (out / "masks" / split).glob("*.png")}


def test_objects_are_drawn_and_the_smaller_lies_on_top(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    assert main([str(file), "--out", str(out)]) == 0
    assert "wrote 2 frames of 3 classes" in capsys.readouterr().out
    found = masks(out)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:30] = 2
    expected[15:20, 15:20] = 1
    assert np.array_equal(found["a"], expected)
    assert not found["b"].any()
    assert (out / "images" / "a.jpg").read_bytes() == (file.parent / "a.jpg").read_bytes()


def test_the_folder_is_one_that_trainings_take(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    for split in ("train", "val"):
        assert main([str(file), "--out", str(out), "--split", split]) == 0
    labels = find_labels(None, out)
    assert labels.names == ["background", "leaf", "stem"]
    assert labels.ignore_index == 255
    split = get_split(out, "train", labels)
    split.check()
    assert [frame.name for frame in split.frames] == ["a", "b"]


def test_run_lengths_are_read_and_crowds_are_void(file: Path, document: dict[str, Any], tmp_path: Path) -> None:
    region = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    region[5:35, 2:50] = 1
    packed = run_lengths.encode(region)
    packed["counts"] = packed["counts"].decode()
    flat = region.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    small = {"size": [HEIGHT, WIDTH], "counts": [3, 2, HEIGHT * WIDTH - 5]}
    for segmentation in (packed, {"size": [HEIGHT, WIDTH], "counts": counts}):
        document["annotations"] = [entry(5, segmentation), entry(2, small, crowd=1)]
        file.write_text(json.dumps(document))
        assert main([str(file), "--out", str(tmp_path / "data")]) == 0
        expected = 2 * region
        expected[3:5, 0] = 255
        assert np.array_equal(masks(tmp_path / "data")["a"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, "has no categories: is it COCO's format"),
        ({"annotations": [entry(3, [SQUARE])]}, "of the category 3, which is not listed"),
        ({"annotations": [entry(5, {"size": [9, 9], "counts": [81]})]}, "is in (9, 9) pixels, its image in (40, 60)"),
        ({"images": [{"id": 7, "file_name": "c.jpg", "height": 40, "width": 60}]}, "c.jpg is in none of"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "height": 60, "width": 40}]}, "(60, 40) in the JSON, (40, 60) upright"),
        ({"images": [{"id": 7, "file_name": "a.jpg"}]}, "(None, None) in the JSON, (40, 60) upright"),
        ({"images": [{"id": 7}]}, "an entry of images lacks file_name: {'id': 7}"),
        (
            {"annotations": [entry(5, [SQUARE], image=8)]},
            "of the image 8, which is not listed",
        ),
        ({"annotations": [entry(5, {"size": [40, 60]})]}, "needs polygons, or run lengths with counts and size"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "sub/a.png"}]}, "of one name ['a']"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_told_with_status_2(
    file: Path,
    document: dict[str, Any],
    change: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = {name: value for name, value in (document | change).items() if value is not None}
    file.write_text(json.dumps(changed))
    assert main([str(file), "--out", str(tmp_path / "data")]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_json_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("no")
    assert main([str(tmp_path / "a.json"), "--out", str(tmp_path / "data")]) == 2
    assert "a.json is not JSON" in capsys.readouterr().err


def test_another_split_s_classes_are_those_of_the_first_by_name(
    file: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tools number the categories of each export by itself."""
    out = tmp_path / "data"
    assert main([str(file), "--out", str(out), "--split", "train"]) == 0
    document["categories"] = [{"id": 1, "name": "stem"}, {"id": 2, "name": "leaf"}]
    document["annotations"] = [entry(1, [SQUARE])]
    file.write_text(json.dumps(document))
    assert main([str(file), "--out", str(out), "--split", "val"]) == 0
    assert sorted(np.unique(masks(out, "val")["a"])) == [0, 2]
    assert find_labels(None, out).names == ["background", "leaf", "stem"]
    document["categories"].append({"id": 3, "name": "root"})
    file.write_text(json.dumps(document))
    assert main([str(file), "--out", str(out), "--split", "val"]) == 2
    assert "has the categories root, and" in capsys.readouterr().err


def test_a_category_background_is_the_background(file: Path, document: dict[str, Any], tmp_path: Path) -> None:
    document["categories"] += [{"id": 0, "name": "background"}]
    document["annotations"] += [entry(0, [[40.0, 0.0, 60.0, 0.0, 60.0, 40.0, 40.0, 40.0]])]
    file.write_text(json.dumps(document))
    assert main([str(file), "--out", str(tmp_path / "data")]) == 0
    assert find_labels(None, tmp_path / "data").names == ["background", "leaf", "stem"]
    assert sorted(np.unique(masks(tmp_path / "data")["a"])) == [0, 1, 2]


def test_boxes_without_an_outline_are_void_and_told(
    file: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = {"bbox": [40.0, 5.0, 10.5, 20.0]}
    document["annotations"] = [entry(5, [SQUARE]), entry(2, []) | box, entry(2, [[1.0, 2.0, 3.0, 4.0]])]
    file.write_text(json.dumps(document))
    assert main([str(file), "--out", str(tmp_path / "data")]) == 0
    assert "2 objects have a box and no outline" in capsys.readouterr().out
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:30, 10:30] = 2
    expected[5:25, 40:51] = 255
    assert np.array_equal(masks(tmp_path / "data")["a"], expected)


def test_an_export_may_be_imported_into_its_own_folder(file: Path) -> None:
    (file.parent / "images").mkdir()
    for name in ("a.jpg", "sub/b.jpg"):
        (file.parent / name).rename(file.parent / "images" / Path(name).name)
    assert main([str(file), "--out", str(file.parent)]) == 0
    assert set(masks(file.parent)) == {"a", "b"}
