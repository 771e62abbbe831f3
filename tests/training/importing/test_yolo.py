"""YOLO's folders of polygons become masks in colours; boxes alone, key points and damaged lines are refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import make_photo
from tests.support.training.coco import Import, read_masks
from training.data.label_files import read_labels

NAMES = "names:\n  0: leaf\n  1: stem\n"
LEAF, STEM = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "1 0.5 0.5 1 0.5 1 1"
BOX = "0 0.5 0.5 0.2 0.2"
LAYOUTS = {
    "Ultralytics": ("path: .\ntrain: images/train\nval: images/val\n", "images/{split}", "labels/{split}"),
    "Roboflow": ("train: ../train/images\nval: ../valid/images\nnc: 2\n", "{split}/images", "{split}/labels"),
    "lists": ("train: train.txt\nval: [val.txt]\n", "images/{split}", "labels/{split}"),
    "a folder elsewhere": ("path: ../datasets/x\ntrain: images/train\nval: images/val\n", "images/{split}", "labels/{split}"),
}


def write(root: Path, head: str, images: str, labels: str, lines: dict[str, str]) -> Path:
    """A data set with a photo of 40x60 pixels for each text of labels, by split and name."""
    root.mkdir()
    (root / "data.yaml").write_text(head + NAMES)
    for key, text in lines.items():
        split, name = key.split("/")
        split = "valid" if split == "val" and "valid" in head else split
        for folder in (root / images.format(split=split), root / labels.format(split=split)):
            folder.mkdir(parents=True, exist_ok=True)
        photo = root / images.format(split=split) / f"{name}.png"
        Image.fromarray(make_photo(40, 60, len(name))).save(photo)
        (root / labels.format(split=split) / f"{name}.txt").write_text(text)
        with (root / f"{split}.txt").open("a") as file:
            file.write(f"./{photo.relative_to(root)}\n")
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("as_file", [False, True])
def test_polygons_become_masks_that_viewers_show_in_colours(
    run_import: Import, tmp_path: Path, layout: str, *, as_file: bool
) -> None:
    lines = {"train/a": f"{LEAF}\n{STEM}\n", "val/bb": STEM, "train/ccc": ""}
    folder = write(tmp_path / "export", *LAYOUTS[layout], lines)
    told = run_import(folder / "data.yaml" if as_file else folder)
    assert "of 3 classes" in told
    masks = read_masks(tmp_path / "data", "train") | read_masks(tmp_path / "data", "val")
    expected = np.zeros((40, 60), np.uint8)
    expected[4:20, 6:30] = 1
    assert (masks["a"][:20] == expected[:20]).all()
    assert (masks["bb"] == 2).sum() == pytest.approx(300, abs=35)
    assert not masks["ccc"].any()
    mask = Image.open(next((tmp_path / "data" / "masks").rglob("a.png")))
    leaf = read_labels(str(tmp_path / "data" / "classes.json")).classes[1]
    assert (mask.mode, mask.convert("RGB").getpixel((10, 10))) == ("P", leaf.color)


@pytest.mark.parametrize(
    ("head", "text", "words"),
    [
        ("", f"{BOX}\n{BOX}", "data.yaml: its 4 objects are boxes alone, which do not say which pixels"),
        ("kpt_shape: [2, 3]\n", LEAF, "data.yaml is of key points (kpt_shape)"),
        ("", "7 0 0 1 0 1 1", "line 1: no class has the number 7"),
        ("", "0 0 0 1 0 1 1 0.9", "line 1: a class and x and y of 3 corners"),
        ("", "0 a b c d e f", "line 1: numbers with blanks between them"),
        ("", "0 nan 0 1 0 1 1", "line 1: numbers with blanks"),
        ("", "0 6 4 30 4 30 20 6 20", "lie to more than a tenth outside of their photos"),
        ("test: ../../elsewhere\n", LEAF, "data.yaml names '../../elsewhere', which is not below its folder"),
    ],
)
def test_what_is_no_polygon_is_told(run_import: Import, tmp_path: Path, head: str, text: str, words: str) -> None:
    first, images, labels = LAYOUTS["Ultralytics"]
    folder = write(tmp_path / "export", first + head, images, labels, {"train/a": text, "val/b": text})
    assert words in run_import(folder, status=2)
    assert not (tmp_path / "data").exists()


def test_photos_without_labels_turned_boxes_and_single_boxes_are_told(run_import: Import, tmp_path: Path) -> None:
    folder = write(tmp_path / "export", *LAYOUTS["Ultralytics"], {"train/a": LEAF, "val/b": LEAF, "train/cc": ""})
    (folder / "labels" / "train" / "cc.txt").unlink()
    told = run_import(folder)
    assert "1 images have no file of labels and are left out" in told
    assert "images have objects of four corners alone; if these are turned boxes" in told
    (folder / "labels" / "val" / "b.txt").write_text(f"{BOX}\n{STEM}\n")
    assert "four corners" not in run_import(folder, "--force")
    assert (read_masks(tmp_path / "data", "val")["b"] == 255).sum() == 96
