"""The exports of labelling tools hold the masks that were drawn; what is wrong in them is told by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import make_photo
from tests.support.training.coco import Import
from tests.support.training.label_tools import EXPORTS, READ_AS_THEY_ARE, Ids, write_label_studio, write_labelme
from training.commands.import_labels import main
from training.data.label_files import find_labels
from training.survey.datasets import get_split
from training.survey.records import survey_all

SIZE = (24, 32)
CLASSES = ["background", "leaf", "stem"]
FRAMES = 12


def drawn(index: int) -> Ids:
    """A rectangle of class 1, and in every other frame a disc of class 2."""
    ids = np.zeros(SIZE, np.uint8)
    ids[2 + index % 5 : 12, 3:9] = 1
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    if index % 2:
        ids[(rows - 12) ** 2 + (columns - 22) ** 2 < 40 + index] = 2
    return ids


@pytest.fixture
def frames(tmp_path: Path) -> dict[Path, Ids]:
    (tmp_path / "photos").mkdir()
    paths = {tmp_path / "photos" / f"photo {index}.jpg": drawn(index) for index in range(FRAMES)}
    for index, path in enumerate(paths):
        Image.fromarray(make_photo(*SIZE, seed=index)).save(path)
    return paths


def read(root: Path) -> dict[str, dict[str, Ids]]:
    """The masks by split and name."""
    splits = [get_split(root, name, find_labels(None, root)) for name in ("train", "val")]
    survey_all(splits)
    return {split.name: {frame.name: split.mask(index) for index, frame in enumerate(split.frames)} for split in splits}


def imported(export: Path, out: Path, *options: str) -> dict[str, Ids]:
    """The masks that the import wrote, of both splits, by name."""
    assert main([str(export), "--out", str(out), *options]) == 0
    return {name: ids for split in read(out).values() for name, ids in split.items()}


@pytest.mark.parametrize("tool", EXPORTS)
def test_a_tool_s_export_holds_the_masks_that_were_drawn(tool: str, frames: dict[Path, Ids], tmp_path: Path) -> None:
    data = EXPORTS[tool](tmp_path / "export", frames, CLASSES)
    if tool not in READ_AS_THEY_ARE:
        assert main([str(data), "--out", str(tmp_path / "data")]) == 0
        data = tmp_path / "data"
    assert find_labels(None, data).names == CLASSES
    splits = read(data)
    masks = splits["train"] | splits["val"]
    assert set(masks) == {path.stem for path in frames}
    for path, ids in frames.items():
        np.testing.assert_array_equal(masks[path.stem], ids)
    if tool.startswith("roboflow"):  # the tool's own splits
        assert set(splits["val"]) == {path.stem for index, path in enumerate(frames) if index % 4 == 0}


def edit(file: Path, **changes: Any) -> None:
    """Changes the first shape of a labelme file."""
    document = json.loads(file.read_text())
    document["shapes"][0].update(changes)
    file.write_text(json.dumps(document))


def test_labelme_s_circles_are_areas_and_ignored_shapes_void(
    frames: dict[Path, Ids], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The photos may lie elsewhere, in a folder that is named."""
    export = write_labelme(tmp_path / "labels" / "day 1", frames, CLASSES)
    edit(export / "photo 0.json", shape_type="circle", points=[[16.0, 12.0], [16.0, 20.0]])
    edit(export / "photo 4.json", label="__ignore__")
    for path in export.glob("*.json"):
        document = json.loads(path.read_text())
        document["imagePath"] = f"..\\..\\photos\\{document['imagePath']}"
        path.write_text(json.dumps(document))
    (export / "photo 8.json").unlink()
    for path in export.glob("*.jpg"):
        if path.stem != "photo 8":
            path.unlink()
    assert main([str(tmp_path / "labels"), "--out", str(tmp_path / "data")]) == 2
    assert "photos/photo 0.jpg is in none of" in capsys.readouterr().err
    masks = imported(tmp_path / "labels", tmp_path / "data", "--images", str(next(iter(frames)).parent))
    assert int((masks["photo 0"] == 1).sum()) == pytest.approx(np.pi * 8**2, rel=0.05)
    np.testing.assert_array_equal(masks["photo 4"] == 255, drawn(4) == 1)
    assert "photo 8" not in masks
    output = capsys.readouterr().out
    assert "bare name" not in output
    assert "1 images have no JSON file and are left out" in output
    assert find_labels(None, tmp_path / "data").names == CLASSES


def test_label_studio_s_ellipses_and_rectangles(frames: dict[Path, Ids], tmp_path: Path) -> None:
    file = write_label_studio(tmp_path / "export", frames, CLASSES)
    tasks = json.loads(file.read_text())
    ellipse = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 100 / 6, "rotation": 90, "ellipselabels": ["leaf"]}
    tasks[0]["annotations"][0]["result"][0].update(type="ellipselabels", value=ellipse)
    rectangle = {"x": 25, "y": 50, "width": 50, "height": 25, "rectanglelabels": ["leaf"]}
    tasks[2]["annotations"][0]["result"][0].update(type="rectanglelabels", value=rectangle)
    file.write_text(json.dumps(tasks))
    masks = imported(file, tmp_path / "data")
    rows, columns = np.nonzero(masks["photo 0"] == 1)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (16, 8)  # turned: 8 pixels to each side along, 4 across
    assert np.count_nonzero(masks["photo 2"][12:18, 8:24] == 255) == np.count_nonzero(masks["photo 2"] == 255) == 96


def test_which_of_label_studio_s_annotations_count(
    frames: dict[Path, Ids], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_label_studio(tmp_path / "export", frames, CLASSES)
    tasks = json.loads(file.read_text())
    empty = {"id": 99, "result": [], "was_cancelled": False}
    tasks[1]["annotations"] += [empty | {"was_cancelled": True}]
    tasks[3]["annotations"] += [empty]
    tasks[5]["annotations"] = [tasks[5]["annotations"][0] | {"ground_truth": True}, empty]
    tasks[7]["annotations"] = []
    file.write_text(json.dumps(tasks))
    masks = imported(file, tmp_path / "data")
    for index in (1, 5):
        np.testing.assert_array_equal(masks[f"photo {index}"], drawn(index))
    assert not masks["photo 3"].any()
    assert "photo 7" not in masks
    output = capsys.readouterr().out
    assert "2 tasks have several annotations" in output
    assert "1 tasks have no annotation and are left out: 8" in output


def test_what_is_wrong_in_label_studio_s_tasks_is_told_by_name(
    run_import: Import, frames: dict[Path, Ids], tmp_path: Path
) -> None:
    file = write_label_studio(tmp_path / "export", frames, CLASSES)
    tasks = json.loads(file.read_text())
    regions = [task["annotations"][0]["result"][-1] for task in tasks]
    regions[1]["value"]["rle"] = regions[1]["value"]["rle"][:-3]
    regions[5].update(original_width=40)
    regions[6]["image_rotation"] = 90
    regions[8]["value"]["points"] = [[1, 2]]
    file.write_text(json.dumps(tasks))
    error = run_import(file, status=2)
    for message in (
        "4 errors in the data set", "task 2, region r2: a brush label ends after",
        "task 6 has regions of images of several sizes", "task 7, region r1: was drawn on an image turned by 90 degrees",
        "task 9, region r1: a polygon needs three points or more",
    ):  # fmt: skip
        assert message in error


def test_exports_without_the_whole_labels_are_told(run_import: Import, tmp_path: Path) -> None:
    """JSON-MIN, one labelme file, a folder of anything else."""
    minimal = tmp_path / "min.json"
    minimal.write_text(json.dumps([{"id": 1, "image": "/data/upload/1/a.jpg", "tag": []}]))
    single, other = tmp_path / "single", tmp_path / "other"
    for folder in (single, other):
        folder.mkdir()
    (single / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.jpg"}))
    expected = {
        minimal: "export JSON, not JSON-MIN", single / "a.json": f"give the folder {single}",
        other: "holds no known export; expected COCO's JSON",
    }  # fmt: skip
    for path, message in expected.items():
        assert message in run_import(path, status=2)


def test_options_that_do_not_go_with_an_export_are_refused(run_import: Import, frames: dict[Path, Ids], tmp_path: Path) -> None:
    export = EXPORTS["roboflow-coco"](tmp_path / "export", frames, CLASSES)
    assert "has 2 splits of its own: leave out --split" in run_import(export, "--split", "train", status=2)
    for tool in ("labelme", "roboflow-coco"):
        export = EXPORTS[tool](tmp_path / tool, frames, CLASSES)
        assert "--image-field is for the tasks of Label Studio's JSON" in run_import(export, "--image-field", "photo", status=2)


def test_roboflow_s_masks_without_valid_and_with_other_classes(frames: dict[Path, Ids], tmp_path: Path) -> None:
    export = EXPORTS["roboflow-masks"](tmp_path / "export", frames, CLASSES)
    (export / "valid" / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, stem\n2, leaf\n")
    with pytest.raises(ValueError, match=r"train/_classes\.csv and valid/_classes\.csv say other classes"):
        find_labels(None, export)
    for path in (export / "valid").iterdir():
        path.unlink()
    splits = read(export)
    assert splits["val"]
    assert len(splits["train"]) + len(splits["val"]) == 9
    assert not set(splits["train"]) & set(splits["val"])
    (export / "train" / "_classes.csv").write_text("Pixel Value, Class\n0, background\nleaf\n")
    with pytest.raises(ValueError, match="must be written id, name, got 'leaf'"):
        find_labels(None, export)
