"""The layouts that users have: plain folders with and without lists, SBD's train_aug, and CamVid as published."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import LabelClass, LabelSet, camvid_labels, voc_labels
from tests.support.training.data_sets import IDS, find_frames, write_frame, write_voc
from training.data.camvid import GROUPS, published_colors, split_of
from training.data.layouts import list_frames
from training.data.problems import DataError
from training.data.split import get_split
from training.survey.records import survey_all


def names(root: Path, split: str) -> list[str]:
    return [frame.name for frame in find_frames(root, split)]


def write_plain(root: Path, *stems: str) -> Path:
    for stem in stems:
        write_frame(root / "images" / f"{stem}.jpg", root / "masks" / f"{stem}.png", IDS)
    return root


def test_a_folder_without_lists_is_split_by_the_names_alone(tmp_path: Path) -> None:
    stems = [f"leaf{index}" for index in range(40)]
    write_plain(tmp_path, *stems)
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert sorted(train + val) == sorted(stems)
    assert 3 <= len(val) <= 14
    write_plain(tmp_path, "another")
    assert set(val) <= set(names(tmp_path, "val"))
    assert set(train) <= set(names(tmp_path, "train"))


def test_folders_of_splits_decide_where_there_are_any(tmp_path: Path) -> None:
    for split, stem in (("train", "a"), ("val", "b"), ("extra", "c")):
        write_frame(tmp_path / "images" / split / f"{stem}.PNG", tmp_path / "masks" / split / f"{stem}.png", IDS)
    assert [names(tmp_path, split) for split in ("train", "val", "extra")] == [["a"], ["b"], ["c"]]


def test_lists_decide_where_there_are_any_and_their_names_may_have_any_case(tmp_path: Path) -> None:
    """Else the frames would be split by their names, without a word."""
    write_plain(tmp_path, "a", "b", "c")
    (tmp_path / "Train.txt").write_text("c\na\n")
    with pytest.raises(DataError, match=r"neither val\.txt nor images/val, but a list or folder of another split"):
        names(tmp_path, "val")
    (tmp_path / "VAL.txt").write_text("b\n")
    assert (names(tmp_path, "train"), names(tmp_path, "val")) == (["c", "a"], ["b"])
    (tmp_path / "train.txt").write_text("a\n")
    assert names(tmp_path, "train") == ["a"]


def test_lists_may_hold_endings_and_names_with_spaces(tmp_path: Path) -> None:
    write_plain(tmp_path, "leaf 1", "leaf.2")
    (tmp_path / "train.txt").write_text("leaf 1.jpg\n\nleaf.2\n")
    assert names(tmp_path, "train") == ["leaf 1", "leaf.2"]


def test_what_has_no_frames_is_told(tmp_path: Path) -> None:
    """A file, folders of no known layout, and splits without frames."""
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="data is not a folder"):
        names(tmp_path / "data", "train")
    with pytest.raises(DataError, match=rf"{tmp_path} has none of the known layouts: images/ and masks/, .*VOCdevkit.*CamVid"):
        names(tmp_path, "train")
    for folder in ("plain/images", "camvid/trainannot"):
        (tmp_path / folder).mkdir(parents=True)
        with pytest.raises(DataError, match="the split 'train' is empty"):
            names((tmp_path / folder).parent, "train")
    write_voc(tmp_path / "voc", {})
    with pytest.raises(DataError, match="the split 'train' is empty"):
        names(tmp_path / "voc", "train")
    with pytest.raises(DataError, match=r"ImageSets/Segmentation/val\.txt is not there"):
        names(tmp_path / "voc", "val")


@pytest.mark.parametrize(
    "listing", ["a\nb\n", "/JPEGImages/a.png /SegmentationClassAug/a.png\n/JPEGImages/b.png /SegmentationClassAug/b.png\n"]
)
def test_train_aug_takes_sbd_s_masks(tmp_path: Path, listing: str) -> None:
    write_voc(tmp_path, {"a": IDS, "b": IDS})
    (tmp_path / "SegmentationClassAug").mkdir()
    for stem in "ab":
        Image.fromarray(IDS[::-1]).save(tmp_path / "SegmentationClassAug" / f"{stem}.png")
    (tmp_path / "SegmentationClass" / "b.png").unlink()
    (tmp_path / "ImageSets" / "Segmentation" / "train_aug.txt").write_text(listing)
    split = get_split(tmp_path, "train_aug", voc_labels())
    assert [frame.name for frame in split.frames] == ["a", "b"]
    assert np.array_equal(split.mask(1), IDS[::-1])
    assert np.array_equal(split.mask(0), IDS[::-1] if "Aug" in listing else IDS)


CAMVID_FRAMES = {
    "0001TP_006690": "train", "0001TP_008520": "train", "0001TP_008550": "test", "0006R0_f03930": "train",
    "0016E5_00390": "train", "0016E5_07959": "val", "0016E5_08159": "val", "0016E5_08640": "train", "Seq05VD_f00000": "test",
    "0001TP_006690 (1)": "train",
}  # fmt: skip


def test_camvid_s_frames_fall_into_the_usual_splits() -> None:
    assert {name: split_of(name) for name in CAMVID_FRAMES} == CAMVID_FRAMES


def test_camvid_as_published_is_read_in_its_colours_which_are_left_to_labels_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "label_colors.txt").write_text("128 128 128\tSky\n0 128 64\t\tArchway\n128 0 0\tBuilding\n0 0 0\tVoid\n")
    colours = np.array([[(128, 128, 128), (0, 128, 64)], [(128, 0, 0), (0, 0, 0)]], np.uint8)
    for folder, name in (("701_StillsRaw_full", "0001TP_006690"), ("LabeledApproved_full", "0001TP_006690_L")):
        (tmp_path / folder).mkdir()
        Image.fromarray(colours).save(tmp_path / folder / f"{name}.png")
    assert get_split(tmp_path, "train", camvid_labels()).mask(0).tolist() == [[0, 1], [1, 11]]
    with pytest.raises(DataError, match="the split 'val' is empty"):
        get_split(tmp_path, "val", camvid_labels())
    own = LabelSet(tuple(LabelClass(i, str(i), tuple(color)) for i, color in enumerate(colours.reshape(-1, 3)[::-1].tolist())))
    assert get_split(tmp_path, "train", own).mask(0).tolist() == [[3, 2], [1, 0]]


def test_the_eleven_groups_hold_31_classes_each_once() -> None:
    members = [name for group in GROUPS.values() for name in group.split()]
    assert list(GROUPS) == camvid_labels().names
    assert len(members) == len(set(members)) == 31
    assert "RoadShoulder" in GROUPS["Pavement"].split()


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    """Whichever of them a list means, they would have one mask; and of two masks one would be taken at random."""
    write_plain(tmp_path, "a", "b")
    (tmp_path / "images" / "a.png").write_bytes((tmp_path / "images" / "a.jpg").read_bytes())
    with pytest.raises(DataError, match=r"two images of one name \(a\), which would have one mask"):
        names(tmp_path, "train")
    (tmp_path / "train.txt").write_text("a.png\nb\n")
    (tmp_path / "masks" / "b.PNG").write_bytes((tmp_path / "masks" / "b.png").read_bytes())
    words = r"(?s)2 errors.*images/a\.jpg and a\.png are two files of one name.*masks/b\.PNG and b\.png are two files of one"
    with pytest.raises(DataError, match=words):
        names(tmp_path, "train")


def test_lists_may_name_files_from_the_folder_above_and_with_dots(tmp_path: Path) -> None:
    write_plain(tmp_path, "a", "b", "c")
    (tmp_path / "train.txt").write_text("images/a.jpg\n./images/b.jpg\n./a\nimages\\c.jpg\n")
    listing = list_frames(tmp_path, "train")
    assert [frame.name for frame in listing.frames] == ["a", "b", "a", "c"]
    assert listing.notes == ["1 frames are listed more than once in 'train', and used as often: a"]


def test_where_a_mask_may_be_is_told(tmp_path: Path) -> None:
    """In another format, or left out by CVAT."""
    write_plain(tmp_path, "a")
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.jpg")
    with pytest.raises(DataError, match=r"masks/a\.png: no such mask; a\.jpg is no PNG: export masks as PNG"):
        names(tmp_path, "train")
    write_voc(tmp_path / "voc", {"a": IDS, "b": IDS})
    (tmp_path / "voc" / "labelmap.txt").write_text("background:0,0,0::\n")
    (tmp_path / "voc" / "SegmentationClass" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: no such mask; CVAT writes no mask for an image without objects"):
        names(tmp_path / "voc", "train")


@pytest.mark.parametrize("ending", ["_mask", "-labelIds", ".jpg"])
def test_masks_of_longer_names_are_told(tmp_path: Path, ending: str) -> None:
    """In the errors that a message shows: a hint takes time by the number of names."""
    frames = [f"frame {letter}" for letter in "abcdefghijkl"]
    write_plain(tmp_path, *frames)
    (tmp_path / "train.txt").write_text("\n".join(frames))
    for frame in frames:
        (tmp_path / "masks" / f"{frame}.png").rename(tmp_path / "masks" / f"{frame}{ending}.png")
    errors = [str(error) for error in list_frames(tmp_path, "train").missing]
    assert f"a.png: no such mask; there is frame a{ending}.png; rename it: a mask has the name of its image" in errors[0]
    assert ["; there is" in error for error in errors] == [True] * 10 + [False] * 2


def test_names_that_are_not_utf_8_are_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"Bl\xe4tter")
    write_plain(tmp_path, *(f"{name}{index}" for index in range(20)))
    for split in ("train", "val"):
        frames = get_split(tmp_path, split, voc_labels())
        assert frames.frames[0].name.startswith(name)
        assert len(frames.digest) == 64
        assert len(survey_all([frames])[0].contents) == 64


@pytest.mark.parametrize("line", ["128 128 Sky", "a b c Sky", "300 0 0 Sky", "1 2 3 Spaceship"])
def test_a_line_of_camvid_s_colours_that_is_none_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "label_colors.txt").write_text(f"128 0 0 Building\n{line}\n")
    with pytest.raises(ValueError, match=rf"label_colors\.txt: (a line must be written .*'{line}'|'Spaceship' is none of)"):
        published_colors(tmp_path)


def test_images_that_no_list_names_are_told(tmp_path: Path) -> None:
    write_plain(tmp_path, "a", "b", "c", "d")
    (tmp_path / "train.txt").write_text("a\nimages/b.jpg\n")
    (tmp_path / "val.txt").write_text("c.jpg\n")
    (tmp_path / "readme.txt").write_bytes(b"\xff\xfe\x00")
    note = f"1 images are in no list and are left out: {tmp_path / 'images' / 'd.jpg'}"
    assert list_frames(tmp_path, "train").notes == [note]
    assert list_frames(tmp_path, "val").notes == [note]
    (tmp_path / "test.txt").write_text("d\n")
    assert list_frames(tmp_path, "train").notes == []


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    """Images in deeper folders, photos of a kind that is not read, and images beside the folders of splits."""
    write_plain(tmp_path, *(f"leaf{index}" for index in range(20)))
    deeper, raw = tmp_path / "images" / "site" / "q.jpg", tmp_path / "images" / "IMG_0042.DNG"
    write_frame(deeper, tmp_path / "masks" / "site" / "q.png", IDS)
    raw.write_bytes(b"photo")
    assert list_frames(tmp_path, "train").notes == [
        f"1 images in folders of {tmp_path / 'images'} are left out: {deeper}",
        f"1 files are of no kind that is read and are left out: {raw}",
    ]
    write_frame(tmp_path / "images" / "train" / "b.jpg", tmp_path / "masks" / "train" / "b.png", IDS)
    listing = list_frames(tmp_path, "train")
    assert [frame.name for frame in listing.frames] == ["b"]
    assert listing.notes[0].startswith(f"20 images lie in {tmp_path / 'images'} beside its folders and are left out: ")
