"""Masks with object and background exchanged are told by their rim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.labels import numbered_labels
from tests.support.training.data_sets import remarks, write_mask, write_noise

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


def inverted(root: Path) -> list[str]:
    return [note for note in remarks(root, LABELS) if "inverted" in note]


def test_inverted_masks_are_told_with_the_class_of_their_rim(root: Path) -> None:
    write_mask(root, "f04", 1 - mask(4))
    void = 1 - mask(7)
    void[:2] = 255
    write_mask(root, "f07", void)
    assert inverted(root) == [
        "2 masks of 'train' seem to be inverted: nearly all others show 'soil' at their rim, these show another class there "
        "and 'soil' inside: f04.png (leaf), f07.png (leaf)"
    ]


def corner_of_soil() -> Ids:
    ids = np.ones((120, 160), np.uint8)
    ids[:30, :40] = 0
    return ids


def speck_of_soil() -> Ids:
    ids = np.ones((120, 160), np.uint8)
    ids[60:66, 80:86] = 0
    return ids


def with_stem() -> Ids:
    ids = 1 - mask(4)
    ids[:30, :30] = 2
    return ids


@pytest.mark.parametrize("ids", [mask(4), corner_of_soil(), speck_of_soil(), np.ones((120, 160), np.uint8), with_stem()])
def test_sound_masks_and_objects_that_fill_the_frame_are_not_inverted(root: Path, ids: Ids) -> None:
    """Soil in a corner, a speck of it inside, none at all, and three classes."""
    write_mask(root, "f04", ids)
    assert inverted(root) == []


def test_without_a_class_around_nearly_all_masks_nothing_is_told(root: Path) -> None:
    for seed in range(6):
        write_mask(root, f"f{seed:02}", 1 - mask(seed))
    assert inverted(root) == []
