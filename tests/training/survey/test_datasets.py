"""Both layouts on disk, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imaging.decoding import Limits, decode
from model.labels import camvid_labels, numbered_labels, voc_labels
from tests.support.images import make_photo
from tests.support.imaging.samples import oriented, upright
from tests.support.training.data_sets import write_camvid, write_frame, write_voc
from training.data.class_mapping import parse_class_mapping
from training.data.layouts import DataError
from training.data.masks import MaskError
from training.data.split import Split
from training.survey.datasets import get_split
from training.survey.inspection import Report, report_all
from training.survey.records import survey_all

FOUR = numbered_labels(["background", "circle", "square", "triangle"])
IDS = np.array([[0, 1, 1], [2, 3, 255]], np.uint8)


@pytest.mark.parametrize("nesting", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_folders_are_found_at_every_nesting(tmp_path: Path, nesting: str) -> None:
    write_voc(tmp_path / nesting, {"b": IDS, "a": IDS[::-1]})
    split = get_split(tmp_path, "train", FOUR)
    assert [frame.name for frame in split.frames] == ["b", "a"]
    assert np.array_equal(split.mask(0), IDS)
    assert np.array_equal(split.mask(1), IDS[::-1])
    assert split.image(0)[..., 0].tolist() == [[0, 60, 60], [120, 180, 255 * 60 % 256]]


def test_camvid_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_camvid(tmp_path, {"0002": IDS, "0001": IDS[::-1]}, "val")
    split = get_split(tmp_path, "val", FOUR)
    assert [frame.name for frame in split.frames] == ["0001", "0002"]
    assert np.array_equal(split.mask(1), IDS)


def test_a_palette_mask_gives_its_ids(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS})
    mask = Image.fromarray(IDS)
    mask.putpalette(np.asarray(voc_labels().palette, np.uint8).tobytes())
    mask.save(tmp_path / "SegmentationClass" / "a.png")
    assert np.array_equal(get_split(tmp_path, "train", FOUR).mask(0), IDS)


def test_names_with_dots_find_their_files(tmp_path: Path) -> None:
    write_voc(tmp_path, {"2008.0001": IDS})
    assert get_split(tmp_path, "train", FOUR).frames[0].image.name == "2008.0001.png"


def test_the_mapping_is_applied_to_masks_and_void_of_the_source_stays_void(tmp_path: Path) -> None:
    labels = camvid_labels()
    write_camvid(tmp_path, {"a": np.array([[0, 3, 8], [9, 11, 255]], np.uint8)})
    split = get_split(tmp_path, "train", labels, parse_class_mapping("3=1,*=0", labels))
    assert split.mask(0).tolist() == [[0, 1, 0], [0, 11, 11]]
    assert split.labels.names == ["Sky", "Road"]


def test_the_digest_tells_lists_apart(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS, "b": IDS}, "one")
    write_voc(tmp_path, {"b": IDS, "a": IDS}, "two")
    write_voc(tmp_path, {"a": IDS, "b": IDS}, "three")
    one, two, three = (get_split(tmp_path, name, FOUR).digest for name in ("one", "two", "three"))
    assert one == three != two
    assert len(one) == 64


@pytest.mark.parametrize("orientation", [3, 6])
def test_training_sees_images_upright_as_the_served_path_does(tmp_path: Path, orientation: int) -> None:
    photo = make_photo(4, 6)
    ids = upright(np.arange(24, dtype=np.uint8).reshape(4, 6) % 4, orientation)
    write_frame(tmp_path / "train" / "a.png", tmp_path / "trainannot" / "a.png", ids, upright(photo, orientation))
    image = tmp_path / "train" / "a.png"
    image.write_bytes(oriented(photo, "PNG", orientation))
    split = get_split(tmp_path, "train", FOUR)
    assert np.array_equal(split.image(0), decode(image.read_bytes(), Limits()))
    assert np.array_equal(split.mask(0), ids)


def test_a_folder_of_neither_layout_is_refused_naming_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the known layouts: images/ and masks/, .*VOCdevkit.*CamVid") as caught:
        get_split(tmp_path, "val", FOUR)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS})
    with pytest.raises(DataError, match=r"ImageSets/Segmentation/val\.txt is not there"):
        get_split(tmp_path, "val", FOUR)


def test_an_empty_list_is_an_empty_split(tmp_path: Path) -> None:
    write_voc(tmp_path, {})
    with pytest.raises(DataError, match="split 'train' is empty"):
        get_split(tmp_path, "train", FOUR)


def test_a_folder_without_masks_is_an_empty_split(tmp_path: Path) -> None:
    (tmp_path / "trainannot").mkdir()
    with pytest.raises(DataError, match="split 'train' is empty"):
        get_split(tmp_path, "train", FOUR)


@pytest.mark.parametrize("write", [write_voc, write_camvid])
def test_a_missing_image_is_named(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, {"a": IDS, "b": IDS})
    next(path for path in tmp_path.rglob("b.png") if path.parent.name in ("train", "JPEGImages")).unlink()
    with pytest.raises(DataError, match=r"(train|JPEGImages)/b: no such image"):
        get_split(tmp_path, "train", FOUR)


def mask_error(root: Path, mask: npt.NDArray[np.uint8]) -> str:
    """The message about this mask of an image of 2x3."""
    write_voc(root, {"good": IDS, "bad": IDS})
    Image.fromarray(mask).save(root / "SegmentationClass" / "bad.png")
    split = get_split(root, "train", FOUR)
    assert np.array_equal(split.mask(0), IDS)
    with pytest.raises((DataError, MaskError)) as caught:
        split.mask(1)
    assert "SegmentationClass/bad.png" in str(caught.value)
    return str(caught.value)


def test_an_id_outside_the_label_set_is_named(tmp_path: Path) -> None:
    assert "ids [4, 200]" in mask_error(tmp_path, np.array([[0, 1, 4], [200, 3, 255]], np.uint8))


def report_of(split: Split) -> Report:
    (report,) = report_all(survey_all([split]))
    return report


@pytest.mark.parametrize(("ids", "shown"), [([255], "no class"), ([0, 255], "background")])
def test_masks_that_show_a_single_class_are_not_learnt_from(tmp_path: Path, ids: list[int], shown: str) -> None:
    write_voc(tmp_path, {"a": np.resize(np.array(ids, np.uint8), (2, 3))})
    (error,) = Report(survey_all([get_split(tmp_path, "train", FOUR)])[0]).errors(fewest_classes=2)
    assert f"show {shown} of 4 classes" in str(error)
    assert "255 is void, not an object" in str(error)


def test_masks_that_show_a_single_class_can_be_scored_and_void_ones_not(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": np.zeros((2, 3), np.uint8)})
    split = get_split(tmp_path, "train", FOUR)
    assert report_of(split).class_ids == {0}
    assert survey_all([split])[0].longer_side == 3
    write_voc(tmp_path, {"a": np.full((2, 3), 255, np.uint8)})
    with pytest.raises(DataError, match="show no class"):
        report_of(get_split(tmp_path, "train", FOUR))
