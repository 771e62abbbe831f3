"""Masks that are exceptions in their split are named: one class alone, specks, thin lines, other kinds of files, inverted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import numbered_labels
from tests.support.training.data_sets import Ids, remarks, write_mask, write_noise
from training.data.split import get_split
from training.survey.inspection import pair_notes
from training.survey.records import survey_all

LABELS = numbered_labels(["soil", "leaf", "stem"])


def mask(seed: int) -> Ids:
    """Soil with a leaf and a stem of other sizes for each seed."""
    ids = np.zeros((120, 160), np.uint8)
    ids[10 : 60 + seed, 10:70] = 1
    ids[20:100, 100 : 120 + seed] = 2
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve frames of equal photos apart from noise."""
    return write_noise(tmp_path, {f"f{seed}": mask(seed) for seed in range(12)})


def test_a_mask_of_one_class_among_others_is_told(root: Path) -> None:
    """Sound masks give no remark, and one class is usual where many masks show one."""
    assert remarks(root, LABELS) == []
    write_mask(root, "f3", np.full((120, 160), 2, np.uint8))
    assert remarks(root, LABELS) == ["1 masks of 'train' show one class alone, as if objects had been left out: f3.png (stem)"]
    for seed in range(4):
        write_mask(root, f"f{seed}", np.full((120, 160), 0, np.uint8))
    assert remarks(root, LABELS) == []


def test_a_speck_beside_what_others_show_is_told(root: Path) -> None:
    ids = mask(4)
    ids[ids == 2] = 0
    ids[110, 3:6] = 2
    write_mask(root, "f4", ids)
    assert remarks(root, LABELS) == ["1 masks of 'train' show a class by a speck alone, as by a slip: f4.png (stem, 3 pixels)"]


def test_a_class_between_two_others_by_interpolation_is_told(root: Path) -> None:
    """Bilinear scaling of 0 and 2 leaves a line of 1."""
    ids = mask(5)
    ids[ids == 1] = 0
    Image.fromarray(ids).resize((80, 60)).resize((160, 120), Image.Resampling.BILINEAR).save(root / "masks" / "f5.png")
    (remark,) = remarks(root, LABELS)
    assert remark.startswith(
        "1 masks of 'train' show a class by thin lines alone, as scaling or JPEG leaves between others: f5.png"
    )
    assert "(leaf, " in remark


def test_a_class_that_is_thin_in_many_masks_is_no_exception(root: Path) -> None:
    for seed in range(12):
        ids = mask(seed)
        ids[ids == 2] = 0
        ids[10:115, 100] = 2
        write_mask(root, f"f{seed}", ids)
    assert remarks(root, LABELS) == []


def test_a_class_that_a_mapping_joins_with_a_wide_one_is_not_thin(root: Path) -> None:
    ids = mask(6)
    ids[ids == 2] = 0
    ids[10:115, 71] = 2
    write_mask(root, "f6", ids)
    assert "f6.png (stem, 105 pixels)" in "".join(remarks(root, LABELS))
    assert remarks(root, LABELS, "soil=soil,leaf=plant,stem=plant") == []


def test_masks_of_another_kind_of_file_are_told(root: Path) -> None:
    Image.fromarray(mask(7) > 0).save(root / "masks" / "f7.png")
    Image.fromarray(np.dstack([mask(8)] * 3)).save(root / "masks" / "f8.png")
    lacks = "1 masks of 'train' lack a class that nearly all others show: f7.png (stem)"
    assert remarks(root, LABELS) == [
        "2 masks of 'train' are files of another kind than the others, so their values may mean other classes: "
        "f7.png (grey of 1 bit, not grey), f8.png (RGB, not grey)",
        lacks,
    ]
    for seed in (9, 10):
        Image.fromarray(np.dstack([mask(seed)] * 3)).save(root / "masks" / f"f{seed}.png")
    assert remarks(root, LABELS) == [lacks]  # four of twelve are no exception


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_same_labels_in_two_files_are_told(root: Path, split: str) -> None:
    """Also if the files differ, and if they are of two splits."""
    names = [f"f{seed}" for seed in range(11)]
    (root / "train.txt").write_text("\n".join(names[:9] if split == "val" else names))
    (root / "val.txt").write_text("\n".join(["f11", *(names[9:] if split == "val" else [])]))
    Image.fromarray(mask(3)).save(root / "masks" / "f10.png", compress_level=1)
    surveys = survey_all([get_split(root, name, LABELS) for name in ("train", "val")], details=True)
    text = "1 masks hold the same labels as another image's, one of which may be wrong: f10.png like f3.png"
    assert [note.replace(f"{root}/masks/", "") for note in pair_notes(*surveys)] == [text]


def leaf(seed: int) -> Ids:
    """Soil with a leaf, of another size for each seed; every third leaf reaches beyond the frame."""
    ids = np.zeros((120, 160), np.uint8)
    ids[0 if seed % 3 == 0 else 20 : 60 + seed, 40 : 100 + seed] = 1
    return ids


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """Twelve frames whose photos are noise."""
    return write_noise(tmp_path, {f"f{seed:02}": leaf(seed) for seed in range(12)})


def inverted(leaves: Path) -> list[str]:
    return [note for note in remarks(leaves, LABELS) if "inverted" in note]


def test_inverted_masks_are_told_with_the_class_of_their_rim(leaves: Path) -> None:
    write_mask(leaves, "f04", 1 - leaf(4))
    void = 1 - leaf(7)
    void[:2] = 255
    write_mask(leaves, "f07", void)
    assert inverted(leaves) == [
        "2 masks of 'train' seem to be inverted: nearly all others show 'soil' at their rim, these show another class there "
        "and 'soil' inside: f04.png (leaf), f07.png (leaf)"
    ]


def part(ids: Ids, rows: slice, columns: slice, value: int) -> Ids:
    ids = ids.copy()
    ids[rows, columns] = value
    return ids


ALL_LEAF = np.ones((120, 160), np.uint8)
SOUND = [
    leaf(4), part(ALL_LEAF, slice(30), slice(40), 0), part(ALL_LEAF, slice(60, 66), slice(80, 86), 0), ALL_LEAF,
    part(1 - leaf(4), slice(30), slice(30), 2),
]  # fmt: skip


@pytest.mark.parametrize("ids", SOUND)
def test_sound_masks_and_objects_that_fill_the_frame_are_not_inverted(leaves: Path, ids: Ids) -> None:
    """Soil in a corner, a speck of it inside, none at all, and three classes."""
    write_mask(leaves, "f04", ids)
    assert inverted(leaves) == []


def test_without_a_class_around_nearly_all_masks_nothing_is_told(leaves: Path) -> None:
    for seed in range(6):
        write_mask(leaves, f"f{seed:02}", 1 - leaf(seed))
    assert inverted(leaves) == []
