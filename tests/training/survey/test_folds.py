"""Frames in folds: which stay together, and how evenly classes are spread."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.arrays import Pixels
from model.labels import LabelSet
from tests.support.images import make_photo
from tests.support.training.data_sets import write_frame, write_noise
from training.data.problems import DataError
from training.data.split import get_split
from training.survey.folds import belonging, divide, group_name, part, pooled
from training.survey.records import Survey, survey_all

LABELS = LabelSet.from_list([{"id": i, "name": name, "color": "#000000"} for i, name in enumerate("abc")], 255)


def mask(*ids: int) -> Pixels:
    """A mask of 16x16 whose rows show these classes in turn."""
    return np.repeat(np.resize(np.array(ids, np.uint8), 16)[:, None], 16, 1)


def survey(root: Path) -> Survey:
    return survey_all([get_split(root, "train", LABELS)])[0]


@pytest.fixture
def noise(tmp_path: Path) -> Survey:
    """23 frames of which five show the class c."""
    masks = {f"{index // 4}_{index:02d}": mask(0, 1, 2) if index % 5 == 0 else mask(0, 1) for index in range(23)}
    return survey(write_noise(tmp_path, masks))


def test_folds_have_equal_numbers_of_frames_and_of_a_rare_class(noise: Survey) -> None:
    folds = divide(noise, 5, None)
    assert sorted(np.bincount(folds).tolist()) == [4, 4, 5, 5, 5]
    shows_c = noise.class_pixels[:, 2] > 0
    assert shows_c.sum() == 5
    assert np.bincount(folds[shows_c]).tolist() == [1, 1, 1, 1, 1]
    assert divide(noise, 5, None).tolist() == folds.tolist()


def test_frames_of_a_group_stay_in_one_fold(noise: Survey) -> None:
    folds = divide(noise, 3, "[^_]+")
    groups = [frame.name.split("_")[0] for frame in noise.split.frames]
    for group in set(groups):
        assert len({fold for fold, name in zip(folds.tolist(), groups, strict=True) if name == group}) == 1
    assert set(folds.tolist()) == {0, 1, 2}


def test_a_group_is_the_match_or_what_the_first_parentheses_find() -> None:
    assert group_name("0016E5_00390", r"\d{4}") == "0016"
    assert group_name("0016E5_00390", r".*(\d)(\d)$") == "9"
    for pattern, message in (
        ("x", "'x' finds no group at the beginning"),
        (r"\d+(x)?", "finds no group"),
        ("(", "must be a regular"),
    ):
        with pytest.raises(DataError, match=message):
            group_name("0016E5_00390", pattern)


def test_tiles_of_a_block_of_ground_stay_in_one_fold(tmp_path: Path) -> None:
    root = write_noise(tmp_path, {str(index): mask(0, 1) for index in range(12)})
    tiles = [{"properties": {"name": str(index), "block": [index % 4, 0]}} for index in range(11)]
    (root / "tiles.geojson").write_text(json.dumps({"features": tiles}))
    units = belonging(survey(root), None)
    names = [frame.name for frame in survey(root).split.frames]
    of_name = dict(zip(names, units.tolist(), strict=True))
    assert len(set(units.tolist())) == 5
    assert of_name["1"] == of_name["5"] == of_name["9"] != of_name["2"]
    assert of_name["11"] not in {of_name[str(index)] for index in range(11)}


def test_copies_and_images_that_look_alike_stay_in_one_fold(tmp_path: Path) -> None:
    root = write_noise(tmp_path, {str(index): mask(0, 1) for index in range(8)})
    photo = make_photo(120, 160, seed=3)
    for name, pixels in (("8", photo), ("9", photo[:, ::-1]), ("10", photo)):
        write_frame(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", np.zeros((120, 160), np.uint8), pixels)
    Image.fromarray(np.asarray(Image.open(root / "images" / "0.png"))).save(root / "images" / "11.png", compress_level=1)
    Image.fromarray(mask(0, 1)).save(root / "masks" / "11.png")
    (root / "train.txt").write_text("".join(f"{index}\n" for index in range(12)))
    surveyed = survey(root)
    units = belonging(surveyed, None)
    assert units[8] == units[9] == units[10]
    assert units[0] == units[11]
    assert len(set(units.tolist())) == 9
    assert len(set(divide(surveyed, 9, None).tolist())) == 9
    with pytest.raises(
        DataError, match="12 frames of 'train' make 9 units of frames that belong together, fewer than 10 folds"
    ):
        divide(surveyed, 10, None)


@pytest.mark.parametrize("sizes", [[9, 1, 1, 1], [1, 1, 1], [5, 5, 1, 4]])
def test_no_fold_is_empty_however_large_the_groups_are(sizes: list[int], tmp_path: Path) -> None:
    masks = {f"{group}_{index}": mask(0, group % 3) for group, size in enumerate(sizes) for index in range(size)}
    folds = divide(survey(write_noise(tmp_path, masks)), 3, "[^_]+")
    assert set(folds.tolist()) == {0, 1, 2}


def test_a_pool_has_each_frame_once_and_a_part_keeps_records_with_their_frames(tmp_path: Path) -> None:
    root = write_noise(tmp_path, {str(index): mask(0, 1) for index in range(4)})
    (root / "val.txt").write_text("3\n")
    train, val = (get_split(root, name, LABELS) for name in ("train", "val"))
    pool = pooled(train, val)
    assert [frame.name for frame in pool.frames] == ["0", "1", "2", "3"]
    whole = survey_all([pool])[0]
    some = part(whole, np.array([False, True, False, True]), "some")
    assert [frame.name for frame in some.split.frames] == ["1", "3"]
    assert [record.image_sha256 for record in some.records] == [whole.records[index].image_sha256 for index in (1, 3)]
