"""Lists of frames: paths in every form name frames, or are errors; a photo is never its own mask."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import voc_labels
from tests.support.training.data_sets import write_frame, write_voc
from tests.support.training.frames import find_frames
from training.data.layouts import DataError, list_frames
from training.survey.datasets import get_split
from training.survey.records import survey_all

IDS = np.array([[0, 1, 1], [2, 3, 255]], np.uint8)


def write_png_photos(root: Path, *names: str) -> Path:
    """A folder whose photos are PNGs, of which each could be read as a mask."""
    for name in names:
        write_frame(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", IDS, np.dstack([IDS] * 3))
    return root


@pytest.mark.parametrize(
    "line",
    [
        "{root}/images/../images/sub/a.png",
        "./images/sub/a",
        "..\\images\\sub\\a.png",
        "sub/../sub/a.PNG",
        "{link}/images/sub/a.png",
    ],
)
def test_paths_into_the_folder_of_images_name_frames_and_never_a_photo_as_its_mask(tmp_path: Path, line: str) -> None:
    root = write_png_photos(tmp_path / "data", "sub/a")
    (tmp_path / "link").symlink_to("data")
    (root / "train.txt").write_text(line.format(root=root, link=tmp_path / "link") + "\n")
    (frame,) = find_frames(root, "train")
    assert (frame.name, frame.image, frame.mask) == ("sub/a", root / "images/sub/a.png", root / "masks/sub/a.png")
    assert list_frames(root, "train").notes == []


@pytest.mark.parametrize(
    "line",
    [
        "/elsewhere/images/a.png",
        "../../other/a.png",
        "C:\\data\\images\\a.png",
        "../masks/a.png",
    ],
)
@pytest.mark.parametrize("layout", ["plain", "voc"])
def test_paths_that_lead_elsewhere_are_errors_that_say_so(tmp_path: Path, line: str, layout: str) -> None:
    if layout == "plain":
        write_png_photos(tmp_path, "a")
        write_frame(tmp_path.parent / "other" / "a.png", tmp_path / "other" / "a.png", IDS)
        lists = tmp_path
    else:
        write_voc(tmp_path, {"a": IDS})
        lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text(f"a\n{line.format(root=tmp_path)}\n")
    listing = list_frames(tmp_path, "train")
    assert [frame.name for frame in listing.frames] == ["a"]
    assert len(listing.missing) == 1
    assert "is listed and leads out of" in str(listing.missing[0])


def test_pairs_may_be_absolute_and_lead_nowhere_else(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS})
    listing = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    for image, mask in (("/JPEGImages", "{root}/SegmentationClass"), ("{root}/JPEGImages", "/SegmentationClass")):
        listing.write_text(f"{image}/a.png {mask}/a.png\n".format(root=tmp_path))
        (frame,) = find_frames(tmp_path, "train")
        assert (frame.image, frame.mask) == (tmp_path / "JPEGImages/a.png", tmp_path / "SegmentationClass/a.png")
    for word in ("../b.png", "/elsewhere/b.png", "C:/b.png"):
        listing.write_text(f"/JPEGImages/a.png {word}\n")
        with pytest.raises(DataError, match=r"leads out of|no such mask"):
            find_frames(tmp_path, "train")


@pytest.mark.parametrize("how", ["pair", "link", "hard link", "copy", "folder"])
def test_a_photo_is_never_its_own_mask(tmp_path: Path, how: str) -> None:
    write_voc(tmp_path, {"a": IDS})
    photo, mask = tmp_path / "JPEGImages" / "a.png", tmp_path / "SegmentationClass" / "a.png"
    Image.fromarray(IDS).save(photo)  # it would be a sound mask
    if how == "pair":
        line = "/JPEGImages/a.png /JPEGImages/a.png\n"
        (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text(line)
    else:
        mask.unlink()
    if how == "link":
        mask.symlink_to(photo)
    elif how == "hard link":
        os.link(photo, mask)
    elif how == "copy":
        mask.write_bytes(photo.read_bytes())
    elif how == "folder":
        mask.parent.rmdir()
        mask.parent.symlink_to("JPEGImages")
    with pytest.raises(DataError, match=r"a\.png: the mask and its image .*a\.png are one file, or copies of it"):
        survey_all([get_split(tmp_path, "train", voc_labels())])
