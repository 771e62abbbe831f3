"""The exports of labelling tools hold the masks that were drawn, in a folder or in a zip; options that do not go are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import make_photo
from tests.support.training.coco import Import
from tests.support.training.label_tools import EXPORTS, READ_AS_THEY_ARE, Ids
from training.data.label_files import find_labels
from training.data.split import get_split
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


def packed(folder: Path, *, wrapped: bool = False) -> Path:
    """Makes the zip of a folder's content, or of the folder itself, and removes the folder."""
    root, base = (folder.parent, folder.name) if wrapped else (folder, None)
    archive = shutil.make_archive(str(folder.parent / f"{folder.name}-export"), "zip", root, base)
    shutil.rmtree(folder)
    return Path(archive)


@pytest.mark.parametrize("packing", ["folder", "zip", "zip of the folder"])
@pytest.mark.parametrize("tool", EXPORTS)
def test_a_tool_s_export_holds_the_masks_that_were_drawn(
    tool: str, packing: str, frames: dict[Path, Ids], run_import: Import, tmp_path: Path
) -> None:
    data = EXPORTS[tool](tmp_path / "export", frames, CLASSES)
    if packing != "folder":
        data = packed(tmp_path / "export", wrapped=packing == "zip of the folder")
    if packing != "folder" or tool not in READ_AS_THEY_ARE:
        output = run_import(data)
        data = tmp_path / "data"
        assert ".fcn-import-" not in output
        assert not list(data.glob(".fcn-import-*"))
        assert ("read as they are" in output) == (tool in READ_AS_THEY_ARE)
    assert find_labels(None, data).names == CLASSES
    splits = read(data)
    masks = splits["train"] | splits["val"]
    assert set(masks) == {path.stem for path in frames}
    for path, ids in frames.items():
        np.testing.assert_array_equal(masks[path.stem], ids)
    if tool.startswith("roboflow"):  # the tool's own splits
        assert set(splits["val"]) == {path.stem for index, path in enumerate(frames) if index % 4 == 0}


def test_what_cannot_be_done_with_masks_is_told(run_import: Import, frames: dict[Path, Ids], tmp_path: Path) -> None:
    """In a zip that is unpacked beside other files, without photos, or with classes that cannot be read, and in a folder."""

    def written(*removed: str, labels: str | None = None) -> Path:
        data = EXPORTS["cvat-masks"](tmp_path / "export", frames, CLASSES)
        for name in removed:
            shutil.rmtree(data / name)
        if labels:
            (data / "labelmap.txt").write_text(labels)
        return data

    assert "read as they are: give them this folder" in run_import(written(), status=2)
    export = packed(tmp_path / "export")
    assert "--split goes with labels in JSON" in run_import(export, "--split", "val", status=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "note.txt").touch()
    assert "data is not empty: give another --out" in run_import(export, status=2)
    (tmp_path / "data" / "note.txt").unlink()
    error = run_import(packed(written("JPEGImages")), status=2)
    assert "holds masks without photos: export them with images" in error
    error = run_import(packed(written(labels="leaf:1,2\n")), status=2)
    assert f"{export}/labelmap.txt" in error
    assert error.count("\n") == 1


def test_options_that_do_not_go_with_an_export_are_refused(run_import: Import, frames: dict[Path, Ids], tmp_path: Path) -> None:
    roboflow, labelme = (EXPORTS[tool](tmp_path / tool, frames, CLASSES) for tool in ("roboflow-coco", "labelme"))
    assert "has 2 splits of its own: leave out --split" in run_import(roboflow, "--split", "train", status=2)
    for export in (roboflow, labelme):
        assert "--image-field is for the tasks of Label Studio's JSON" in run_import(export, "--image-field", "photo", status=2)
    assert f"give the folder {labelme}" in run_import(labelme / "photo 0.json", status=2)


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
