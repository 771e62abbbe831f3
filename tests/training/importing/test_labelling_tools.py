"""Masks that labelling tools export, laid out as they do, are read with the right ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.labels import LabelError
from tests.support.training.data_sets import Ids, in_palette, write_frame
from training.data.label_files import find_labels
from training.data.layouts import list_frames
from training.data.split import get_split

IDS = np.array([[0, 1, 1, 2], [2, 2, 255, 0]], np.uint8)


def write_masks(root: Path, folders: tuple[str, str], mask: Image.Image) -> Path:
    """Eight frames with this mask; gives the root."""
    for name in "abcdefgh":
        write_frame(root / folders[0] / f"{name}.png", root / folders[1] / f"{name}.png", IDS)
        mask.save(root / folders[1] / f"{name}.png")
    return root


def read(root: Path, **how: Any) -> list[Ids]:
    """The masks of both splits."""
    splits = [get_split(root, name, find_labels(None, root), **how) for name in ("train", "val")]
    masks = [split.mask(index) for split in splits for index in range(len(split.frames))]
    assert len(masks) == 8
    return masks


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationClassPNG"])
def test_labelme_s_masks_in_voc_s_palette(tmp_path: Path, folder: str) -> None:
    """labelme2voc writes no lists, ids in VOC's palette, -1 as 255, and the names beside."""
    root = write_masks(tmp_path, ("JPEGImages", folder), in_palette(IDS))
    (root / "class_names.txt").write_text("__ignore__\n_background_\n#1 leaf\na:b:c:d\n")
    assert find_labels(None, root).names == ["_background_", "#1 leaf", "a:b:c:d"]
    assert all(np.array_equal(mask, IDS) for mask in read(root))


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_cvat_s_segmentation_masks_with_their_label_map(tmp_path: Path, mode: str) -> None:
    """RGB in the label map's colours, one list `default`; the background need not stand first. A palette is read by --masks."""
    colors = {"leaf": (250, 50, 83), "background": (0, 0, 0), "stem:thin": (51, 221, 255)}
    palette = np.array([colors["background"], colors["leaf"], colors["stem:thin"]], np.uint8)
    ids = np.where(IDS == 255, 0, IDS)
    mask = Image.fromarray(palette[ids])
    if mode == "P":
        mask = mask.convert("P", palette=Image.Palette.ADAPTIVE, colors=3)
    root = write_masks(tmp_path, ("JPEGImages", "SegmentationClass"), mask)
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in colors.items()]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join("abcdefgh") + "\n")
    labels = find_labels(None, root)
    assert labels.names == ["background", "leaf", "stem:thin"]
    assert [entry.color for entry in labels.classes] == [tuple(color) for color in palette.tolist()]
    assert all(np.array_equal(mask, ids) for mask in read(root, meaning="ids" if mode == "RGB" else "colors"))


@pytest.mark.parametrize("line", ["leaf:250,50", "leaf:250,50,83", "leaf", "leaf:#fa3253::", "leaf:250,50::"])
def test_a_line_of_a_label_map_that_is_none_is_told(tmp_path: Path, line: str) -> None:
    """Without it, the ids of those behind it would be others."""
    (tmp_path / "labelmap.txt").write_text(f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{line}\nstem:1,2,3::\n")
    with pytest.raises(LabelError, match=r"labelmap\.txt': a (line|colour) must be written"):
        find_labels(None, tmp_path)


def test_label_studio_s_brush_masks_under_their_own_names_are_told_of(tmp_path: Path) -> None:
    root = write_masks(tmp_path, ("images", "masks"), Image.fromarray(IDS))
    for mask in (root / "masks").iterdir():
        mask.rename(mask.with_name(f"task-1-annotation-{ord(mask.stem)}-by-1-tag-leaf-0.png"))
    (error, *_) = list_frames(root, "train").missing
    assert "no such mask; Label Studio's PNGs hold one label each: export JSON" in str(error)
