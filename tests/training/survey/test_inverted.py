"""Masks with object and background exchanged are told by their rim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.labels import numbered_labels
from tests.support.training.data_sets import write_mask, write_noise
from training.survey.datasets import get_split
from training.survey.inspection import Report
from training.survey.records import survey_all

LABELS = numbered_labels(["soil", "leaf", "stem"])
Ids = npt.NDArray[np.uint8]


def mask(seed: int) -> Ids:
    """Soil with a leaf, of another size for each seed; every third leaf reaches beyond the frame."""
    ids = np.zeros((120, 160), np.uint8)
    ids[0 if seed % 3 == 0 else 20 : 60 + seed, 40 : 100 + seed] = 1
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve frames whose photos are noise."""
    return write_noise(tmp_path, {f"f{seed:02}": mask(seed) for seed in range(12)})


def remarks(root: Path) -> list[str]:
    (survey,) = survey_all([get_split(root, "train", LABELS)])
    return [note.replace(f"{root}/masks/", "") for note in Report(survey).notes if "inverted" in note]


def test_masks_as_they_should_be_give_no_remark(root: Path) -> None:
    assert remarks(root) == []


def test_inverted_masks_are_told_with_the_class_of_their_rim(root: Path) -> None:
    write_mask(root, "f04", 1 - mask(4))
    void = 1 - mask(7)
    void[:2] = 255
    write_mask(root, "f07", void)
    assert remarks(root) == [
        "2 masks of 'train' seem to be inverted: nearly all others show 'soil' at their rim, these show another class there "
        "and 'soil' inside: f04.png (leaf), f07.png (leaf)"
    ]


def test_an_object_that_fills_the_frame_is_not_inverted(root: Path) -> None:
    """Ground in a corner, a speck of it inside, or none at all."""
    corner = np.ones((120, 160), np.uint8)
    corner[:30, :40] = 0
    write_mask(root, "f03", corner)
    speck = np.ones((120, 160), np.uint8)
    speck[60:66, 80:86] = 0
    write_mask(root, "f04", speck)
    write_mask(root, "f05", np.ones((120, 160), np.uint8))
    assert remarks(root) == []


def test_masks_of_three_classes_are_not_inverted(root: Path) -> None:
    ids = 1 - mask(4)
    ids[:30, :30] = 2
    write_mask(root, "f04", ids)
    assert remarks(root) == []


def test_without_a_class_around_nearly_all_masks_nothing_is_told(root: Path) -> None:
    for seed in range(6):
        write_mask(root, f"f{seed:02}", 1 - mask(seed))
    assert remarks(root) == []
