"""Masks with object and background exchanged are told by their rim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.labels import numbered_labels
from training.data.datasets import get_split
from training.data.inspection import Report
from training.data.survey import survey_all

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
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for seed in range(12):
        noise = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"f{seed:02}.png")
        save(tmp_path, seed, mask(seed))
    (tmp_path / "train.txt").write_text("".join(f"f{seed:02}\n" for seed in range(12)))
    return tmp_path


def save(root: Path, seed: int, ids: Ids) -> None:
    Image.fromarray(ids).save(root / "masks" / f"f{seed:02}.png")


def remarks(root: Path) -> list[str]:
    (survey,) = survey_all([get_split(root, "train", LABELS)])
    return [note.replace(f"{root}/masks/", "") for note in Report(survey).notes if "inverted" in note]


def test_masks_as_they_should_be_give_no_remark(root: Path) -> None:
    assert remarks(root) == []


def test_inverted_masks_are_told_with_the_class_of_their_rim(root: Path) -> None:
    save(root, 4, 1 - mask(4))
    void = 1 - mask(7)
    void[:2] = 255
    save(root, 7, void)
    assert remarks(root) == [
        "2 masks of 'train' seem to be inverted: nearly all others show 'soil' at their rim, these show another class there "
        "and 'soil' inside: f04.png (leaf), f07.png (leaf)"
    ]


def test_an_object_that_fills_the_frame_is_not_inverted(root: Path) -> None:
    """Ground in a corner, a speck of it inside, or none at all."""
    corner = np.ones((120, 160), np.uint8)
    corner[:30, :40] = 0
    save(root, 3, corner)
    speck = np.ones((120, 160), np.uint8)
    speck[60:66, 80:86] = 0
    save(root, 4, speck)
    save(root, 5, np.ones((120, 160), np.uint8))
    assert remarks(root) == []


def test_masks_of_three_classes_are_not_inverted(root: Path) -> None:
    ids = 1 - mask(4)
    ids[:30, :30] = 2
    save(root, 4, ids)
    assert remarks(root) == []


def test_without_a_class_around_nearly_all_masks_nothing_is_told(root: Path) -> None:
    for seed in range(6):
        save(root, seed, 1 - mask(seed))
    assert remarks(root) == []
