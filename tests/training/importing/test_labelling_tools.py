"""What labelling tools export, laid out as they do, is read with the right ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.labels import voc_labels
from tests.support.images import make_photo
from tests.support.training.frames import find_frames
from training.data.label_files import find_labels, read_labels
from training.data.layouts import DataError
from training.data.split import Split
from training.survey.datasets import get_split
from training.survey.records import survey_all

Ids = npt.NDArray[np.uint8]
SIZE = (24, 32)
NAMES = [f"photo {index}" for index in range(12)]


def drawn(index: int, classes: int = 3) -> Ids:
    """A mask of background with a square of every other class, elsewhere in each frame; some show fewer classes."""
    ids = np.zeros(SIZE, np.uint8)
    for value in range(1, classes):
        if (index + value) % 3:
            ids[index : index + 6, 8 * value : 8 * value + 5] = value
    return ids


def write_photos(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(NAMES):
        Image.fromarray(make_photo(*SIZE, seed=index)).save(folder / f"{name}.jpg")


def read(root: Path, **how: Any) -> dict[str, Ids]:
    """The masks of both splits by the names of their frames."""
    labels = find_labels(None, root)
    splits: list[Split] = [get_split(root, name, labels, **how) for name in ("train", "val")]
    survey_all(splits)
    return {frame.name: split.mask(index) for split in splits for index, frame in enumerate(split.frames)}


def assert_read(masks: dict[str, Ids], expected: list[Ids]) -> None:
    assert set(masks) == set(NAMES)
    for name, ids in zip(NAMES, expected, strict=True):
        np.testing.assert_array_equal(masks[name], ids)


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationClassPNG"])
def test_labelme_s_masks_in_voc_s_palette(tmp_path: Path, folder: str) -> None:
    """labelme2voc writes no lists, ids in VOC's palette, -1 as 255, and the names beside."""
    write_photos(tmp_path / "JPEGImages")
    (tmp_path / folder).mkdir()
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\nleaf\nberry\n")
    expected = [drawn(index) for index in range(len(NAMES))]
    expected[3][20:, :4] = 255
    for name, ids in zip(NAMES, expected, strict=True):
        mask = Image.fromarray(ids)
        mask.putpalette(np.asarray(voc_labels().palette, np.uint8).tobytes())
        mask.save(tmp_path / folder / f"{name}.png")
    assert_read(read(tmp_path), expected)
    assert find_labels(None, tmp_path).names == ["_background_", "leaf", "berry"]


def test_labelme_s_masks_with_classes_of_other_colours(tmp_path: Path) -> None:
    """Copied into images/ and masks/, with a classes.json whose colours are VOC's in another order."""
    write_photos(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    classes = [("soil", "#000000"), ("leaf", "#008000"), ("berry", "#800000")]
    entries = [{"id": index, "name": name, "color": color} for index, (name, color) in enumerate(classes)]
    (tmp_path / "classes.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"classes": entries}).encode())
    expected = [drawn(index) for index in range(len(NAMES))]
    for name, ids in zip(NAMES, expected, strict=True):
        mask = Image.fromarray(ids)
        mask.putpalette(np.asarray(voc_labels().palette, np.uint8).tobytes())
        mask.save(tmp_path / "masks" / f"{name}.png", optimize=True)
    assert_read(read(tmp_path), expected)


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_cvat_s_segmentation_masks_with_their_label_map(tmp_path: Path, mode: str) -> None:
    """RGB in the label map's colours, one list `default`; the background need not stand first. A palette is read by --masks."""
    colors = {"leaf": (250, 50, 83), "background": (0, 0, 0), "stem:thin": (51, 221, 255)}
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in colors.items()]
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    write_photos(tmp_path / "JPEGImages")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "SegmentationClass").mkdir()
    palette = np.array([colors["background"], colors["leaf"], colors["stem:thin"]], np.uint8)
    expected = [drawn(index) for index in range(len(NAMES))]
    for name, ids in zip(NAMES, expected, strict=True):
        mask = Image.fromarray(palette[ids])
        if mode == "P":
            mask = mask.convert("P", palette=Image.Palette.ADAPTIVE, colors=3)
        mask.save(tmp_path / "SegmentationClass" / f"{name}.png")
    labels = find_labels(None, tmp_path)
    assert labels.names == ["background", "leaf", "stem:thin"]
    assert [entry.color for entry in labels.classes] == [tuple(color) for color in palette.tolist()]
    assert_read(read(tmp_path, meaning="ids" if mode == "RGB" else "colors"), expected)


def test_a_label_map_s_colour_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("leaf:250,50::\n")
    with pytest.raises(ValueError, match=r"labelmap\.txt.*a colour must be written red,green,blue.*'250,50'"):
        read_labels(str(tmp_path / "labelmap.txt"))


def test_label_studio_s_brush_masks_of_one_label_are_read_by_colours(tmp_path: Path) -> None:
    """Black and white; renamed after their images."""
    write_photos(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    classes = [{"id": 0, "name": "background", "color": "#000000"}, {"id": 1, "name": "leaf", "color": "#ffffff"}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes}))
    expected = [drawn(index + 1, 2) for index in range(len(NAMES))]
    for name, ids in zip(NAMES, expected, strict=True):
        Image.fromarray(ids * 255).save(tmp_path / "masks" / f"{name}.png")
    assert_read(read(tmp_path, meaning="colors"), expected)


def test_label_studio_s_brush_masks_under_their_own_names_are_told_of(tmp_path: Path) -> None:
    write_photos(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for index in range(3):
        mask = tmp_path / "masks" / f"task-{index}-annotation-{index}-by-1-tag-leaf-0.png"
        Image.fromarray(drawn(index, 2) * 255).save(mask)
    with pytest.raises(DataError, match=r"no such mask; Label Studio's PNGs hold one label each: export JSON"):
        find_frames(tmp_path, "train")


@pytest.mark.parametrize("line", ["leaf:250,50", "leaf:250,50,83", "leaf", "leaf:#fa3253::"])
def test_a_line_of_a_label_map_that_is_none_is_told(tmp_path: Path, line: str) -> None:
    """Without it, the ids of those behind it would be others."""
    (tmp_path / "labelmap.txt").write_text(f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{line}\nstem:1,2,3::\n")
    with pytest.raises(ValueError, match=r"labelmap\.txt': a (line|colour) must be written"):
        find_labels(None, tmp_path)


def test_names_that_look_like_comments_or_maps_are_classes(tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\n#1 leaf\na:b:c:d\n")
    assert find_labels(None, tmp_path).names == ["_background_", "#1 leaf", "a:b:c:d"]
