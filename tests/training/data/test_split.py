"""Splits in both layouts: their frames and masks, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import camvid_labels
from tests.support.training.data_sets import FOUR, IDS, write_camvid, write_voc
from training.data.class_mapping import parse_class_mapping
from training.data.problems import DataError
from training.data.split import get_split
from training.survey.inspection import class_errors
from training.survey.records import survey_all


@pytest.mark.parametrize("nesting", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_folders_are_found_at_every_nesting(tmp_path: Path, nesting: str) -> None:
    write_voc(tmp_path / nesting, {"2008.0001": IDS, "a": IDS[::-1]})
    split = get_split(tmp_path, "train", FOUR)
    assert [(frame.name, frame.image.name) for frame in split.frames] == [("2008.0001", "2008.0001.png"), ("a", "a.png")]
    assert np.array_equal(split.mask(0), IDS)
    assert np.array_equal(split.mask(1), IDS[::-1])
    assert split.image(0)[..., 0].tolist() == [[0, 60, 60], [120, 180, 255 * 60 % 256]]


def test_camvid_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_camvid(tmp_path, {"0002": IDS, "0001": IDS[::-1]}, "val")
    split = get_split(tmp_path, "val", FOUR)
    assert [frame.name for frame in split.frames] == ["0001", "0002"]
    assert np.array_equal(split.mask(1), IDS)


def test_the_mapping_is_applied_to_masks_and_void_of_the_source_stays_void(tmp_path: Path) -> None:
    labels = camvid_labels()
    write_camvid(tmp_path, {"a": np.array([[0, 3, 8], [9, 11, 255]], np.uint8)})
    split = get_split(tmp_path, "train", labels, parse_class_mapping("3=1,*=0", labels))
    assert split.mask(0).tolist() == [[0, 1, 0], [0, 11, 11]]
    assert split.labels.names == ["Sky", "Road"]


def test_the_digest_tells_lists_apart(tmp_path: Path) -> None:
    for name, frames in (("one", "ab"), ("two", "ba"), ("three", "ab")):
        write_voc(tmp_path, dict.fromkeys(frames, IDS), name)
    one, two, three = (get_split(tmp_path, name, FOUR).digest for name in ("one", "two", "three"))
    assert one == three != two
    assert len(one) == 64


def test_missing_and_wrong_files_of_several_splits_are_told_together(tmp_path: Path) -> None:
    """Both files of a frame may be wrong: links to nowhere, folders, empty files. What both splits name is told once."""
    write_voc(tmp_path, dict.fromkeys(["good", "gone", "unlabelled", "link", "folder", "empty"], IDS))
    write_voc(tmp_path, {"ids": IDS + 90}, "val")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("ids\ngone\n")
    photos, masks = tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    removed = (photos / "gone.png", photos / "link.png", photos / "folder.png", masks / "link.png", masks / "unlabelled.png")
    for path in removed:
        path.unlink()
    for folder in (photos, masks):
        (folder / "link.png").symlink_to("nowhere")
    (photos / "folder.png").mkdir()
    (photos / "empty.png").write_bytes(b"")
    Image.fromarray(IDS + 90).save(masks / "empty.png")
    splits = [get_split(tmp_path, name, FOUR) for name in ("train", "val")]
    assert "unlabelled" not in [frame.name for frame in splits[0].frames]
    with pytest.raises(DataError, match="8 errors in the data set") as caught:
        survey_all(splits)
    places = ("gone: no such image", "link.png: No such file or directory", "folder.png: Is a directory", "empty.png: ")
    for message in (*(f"{photos}/{place}" for place in places), "unlabelled.png: no such mask", "ids.png: ids [89, 90"):
        assert message in str(caught.value)


@pytest.mark.parametrize(("ids", "shown"), [([255], "no class"), ([0, 255], "background")])
def test_masks_that_show_a_single_class_are_not_learnt_from(tmp_path: Path, ids: list[int], shown: str) -> None:
    write_voc(tmp_path, {"a": np.resize(np.array(ids, np.uint8), (2, 3))})
    (survey,) = survey_all([get_split(tmp_path, "train", FOUR)])
    (error,) = class_errors(survey, fewest_classes=2)
    assert f"show {shown} of 4 classes" in str(error)
    assert "255 is void, not an object" in str(error)
    assert bool(class_errors(survey)) == (shown == "no class")  # void cannot be scored either


def test_ten_errors_are_written_out(tmp_path: Path) -> None:
    write_voc(tmp_path, {f"frame{index:02}": IDS + 90 for index in range(13)})
    with pytest.raises(DataError) as caught:
        survey_all([get_split(tmp_path, "train", FOUR)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "13 errors in the data set:"
    assert "frame00.png" in lines[1]
    assert "frame09.png" in lines[10]
    assert lines[11:] == ["  and 3 more"]
