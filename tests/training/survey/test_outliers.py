"""Masks unlike nearly all others of their split are named: no void, no ground, much void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.labels import numbered_labels
from tests.support.training.data_sets import write_mask, write_noise
from training.data.class_mapping import parse_class_mapping
from training.survey.datasets import get_split
from training.survey.inspection import Report
from training.survey.records import survey_all

LABELS = numbered_labels(["sky", "wall", "road", "car", "post"])
FRAMES, HEIGHT, WIDTH = 24, 150, 200
Ids = npt.NDArray[np.uint8]


def street(seed: int) -> Ids:
    """Sky over walls over a road, with uneven borders, a car, a post in two of three, and void along the road."""
    random = np.random.default_rng(seed)
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows = np.arange(HEIGHT)[:, None]
    walls = 40 + random.integers(0, 20) + np.cumsum(random.integers(-1, 2, WIDTH))
    ids[rows > walls] = 1
    road = 100 + random.integers(0, 15) + np.cumsum(random.integers(-1, 2, WIDTH)) // 2
    ids[rows > road] = 255
    ids[rows > road + 2] = 2
    if seed % 3:
        ids[60:125, 30 + seed : 38 + seed] = 4
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    ids[(x - 80 - 3 * seed) ** 2 + 2 * (y - 118) ** 2 < 400] = 3
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_noise(tmp_path, {f"f{seed:02}": street(seed) for seed in range(FRAMES)})


def remarks(root: Path, changes: str | None = None) -> list[str]:
    """The remarks on the split without the folder, those on how masks lie apart: the photos are noise."""
    mapping = parse_class_mapping(changes, LABELS) if changes else None
    (survey,) = survey_all([get_split(root, "train", LABELS, mapping)])
    notes = [note.replace(f"{root}/masks/", "") for note in Report(survey).notes]
    return [note for note in notes if "do not fit their image" not in note]


def test_sound_masks_give_no_remark(root: Path) -> None:
    assert remarks(root) == []


def test_a_mask_of_void_alone_has_its_own_remark(root: Path) -> None:
    write_mask(root, "f05", np.full((HEIGHT, WIDTH), 255, np.uint8))
    (remark,) = remarks(root)
    assert "hold no class, only void: f05.png" in remark


def test_a_mask_without_a_class_that_nearly_all_show_is_named(root: Path) -> None:
    ids = street(7)
    ids[ids == 2] = 1
    write_mask(root, "f07", ids)
    assert remarks(root) == ["1 masks of 'train' lack a class that nearly all others show: f07.png (road)"]
    assert remarks(root, "road=ground,wall=ground,*=other") == []


def test_a_small_or_rare_class_may_be_missing(root: Path) -> None:
    """The car is in all masks, but small; the post is in two of three."""
    ids = street(7)
    ids[(ids == 3) | (ids == 4)] = 2
    write_mask(root, "f07", ids)
    assert remarks(root) == []


def test_a_mask_without_void_among_others_with_some_is_named(root: Path) -> None:
    ids = street(9)
    ids[ids == 255] = 0
    write_mask(root, "f09", ids)
    assert any(
        note == "1 masks of 'train' have no void where nearly all others have some; it may be saved as a class: f09.png"
        for note in remarks(root)
    )
    for seed in range(4):
        write_mask(root, f"f{seed:02}", np.where(street(seed) == 255, 1, street(seed)).astype(np.uint8))
    assert not any("have no void" in note for note in remarks(root))


def with_void(seed: int, radius: int) -> Ids:
    """A street with a disc of void."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.where((x - 100) ** 2 + (y - 75) ** 2 < radius**2, 255, street(seed)).astype(np.uint8)


@pytest.mark.parametrize(("radius", "is_told"), [(60, True), (30, False)])
def test_a_mask_with_far_more_void_than_the_others_is_named(radius: int, is_told: bool, root: Path) -> None:
    ids = with_void(5, radius)
    write_mask(root, "f05", ids)
    told = [note for note in remarks(root) if "far more void" in note]
    share = (ids == 255).mean()
    expected = f"1 masks of 'train' have far more void than the others, as if objects had no labels yet: f05.png ({share:.0%})"
    assert told == ([expected] if is_told else [])


def test_void_that_many_masks_have_is_usual(root: Path) -> None:
    for seed in range(6):
        write_mask(root, f"f{seed:02}", with_void(seed, 60))
    assert not any("far more void" in note for note in remarks(root))
