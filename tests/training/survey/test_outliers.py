"""Masks unlike nearly all others of their split are named: shifted ids, no void, no ground, blocks, half a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.labels import numbered_labels
from tests.support.training.data_sets import Ids, Pictures, with_masks, write_noise
from tests.support.variants import long
from training.data.class_mapping import parse_class_mapping
from training.data.split import get_split
from training.survey.inspection import notes
from training.survey.records import Survey, survey_all

LABELS = numbered_labels(["sky", "wall", "road", "car", "post"])
FRAMES, HEIGHT, WIDTH = 24, 150, 200
Change = Callable[[Ids], npt.NDArray[np.integer]]


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


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    root = write_noise(tmp_path_factory.mktemp("streets"), {f"f{seed:02}": street(seed) for seed in range(FRAMES)})
    return survey_all([get_split(root, "train", LABELS)], details=True)[0]


def outliers(survey: Survey, folder: Path, masks: Pictures, photos: Pictures | None = None) -> list[str]:
    """The remarks after these changes, but those on how masks lie: the photos are noise."""
    told = notes(with_masks(survey, folder, masks, photos or {}))
    return [note.replace(f"{folder}/", "") for note in told if "do not fit their image" not in note]


def shifted(ids: Ids, step: int) -> Ids:
    """All ids but void with `step` added; 0 less one is void, and the last class stays the last."""
    return np.where(ids == 255, 255, (ids + np.int16(step)).clip(-1, len(LABELS) - 1)).astype(np.uint8)


def with_void(ids: Ids, radius: int) -> Ids:
    """The mask with a disc of void."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.where((x - 100) ** 2 + (y - 75) ** 2 < radius**2, 255, ids).astype(np.uint8)


def enlarged(ids: Ids, factor: int) -> Ids:
    """The mask as it is drawn on a smaller photo."""
    small = Image.fromarray(ids).resize((WIDTH // factor, HEIGHT // factor), Image.Resampling.NEAREST)
    return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))


def two_parts(ids: Ids, right: Ids, column: int) -> Ids:
    return np.where(np.arange(WIDTH) < column, ids, right).astype(np.uint8)


def rectangles(_: Ids) -> Ids:
    ids = np.full((HEIGHT, WIDTH), 2, np.uint8)
    ids[:60], ids[60:100], ids[90:130, 70:120] = 0, 1, 3
    return ids


OTHER_IDS = "fit the others only with other ids: those show the classes where these would have them then"
UNLABELLED = "end at a straight border, as if a part of the photo had no labels"
PLANTED: list[tuple[str, Change, str]] = [
    ("f05", lambda ids: np.where(ids == 255, 255, (ids + 1) % len(LABELS)), f"{OTHER_IDS}: f05.png (ids one too high)"),
    ("f05", lambda ids: shifted(ids, 1), f"{OTHER_IDS}: f05.png (ids one too high)"),
    ("f05", lambda ids: shifted(ids, -1), f"{OTHER_IDS}: f05.png (ids one too low)"),
    ("f05", lambda ids: np.full_like(ids, 255), "hold no class, only void: f05.png"),
    ("f07", lambda ids: np.where(ids == 2, 1, ids), "lack a class that nearly all others show: f07.png (road)"),
    ("f09", lambda ids: np.where(ids == 255, 0, ids), "have no void where nearly all others have some; it may be saved as a "
     "class: f09.png"),
    ("f06", lambda ids: two_parts(ids, street(8) == 0, 120), f"{UNLABELLED}: f06.png (a border at 60% of the width)"),
    *(("f06", filled, f"{UNLABELLED}: f06.png ({part})") for filled, part in (
        (lambda ids: two_parts(ids, np.zeros_like(ids), 100), "right 50%"),
        (lambda ids: two_parts(np.full_like(ids, 255), ids, 70), "left 35%"),
        (lambda ids: np.where(np.arange(HEIGHT)[:, None] < 75, ids, 0), "lower 50%"),
    )),
    ("f05", lambda ids: with_void(ids, 60), "have far more void than the others, as if objects had no labels yet: f05.png "
     f"({(with_void(street(5), 60) == 255).mean():.0%})"),
]  # fmt: skip
USUAL: list[tuple[range, Change, str]] = [
    (range(0), lambda ids: ids, ""),
    (range(7, 8), lambda ids: np.where((ids == 3) | (ids == 4), 2, ids), ""),  # a small class, and one of two in three masks
    (range(4), lambda ids: np.where(ids == 255, 1, ids), "have no void"),
    (range(8), lambda ids: enlarged(ids, 6), "blocks"),
    (range(4, 5), rectangles, "blocks"),
    (range(5), lambda ids: two_parts(ids, np.full_like(ids, 255), 100), "straight border"),
    (range(6), lambda ids: with_void(ids, 60), "far more void"),
    (range(5, 6), lambda ids: with_void(ids, 30), "far more void"),
]


@pytest.mark.parametrize(("name", "change", "remark"), PLANTED)
def test_a_planted_mistake_is_named(streets: Survey, tmp_path: Path, name: str, change: Change, remark: str) -> None:
    masks = {name: change(street(int(name[1:]))).astype(np.uint8)}
    told = [note for note in outliers(streets, tmp_path, masks) if f"{name}.png" in note]
    assert f"1 masks of 'train' {remark}" in told
    assert len(told) == 1 or OTHER_IDS not in remark


@pytest.mark.parametrize(("seeds", "change", "word"), USUAL)
def test_what_many_masks_do_and_what_is_small_is_usual(
    streets: Survey, tmp_path: Path, seeds: range, change: Change, word: str
) -> None:
    masks = {f"f{seed:02}": change(street(seed)).astype(np.uint8) for seed in seeds}
    assert not any(word in note for note in outliers(streets, tmp_path, masks))


def test_a_mapping_may_join_a_class_that_is_missing(streets: Survey, tmp_path: Path) -> None:
    mapping = parse_class_mapping("road=ground,wall=ground,*=other", LABELS)
    split = get_split(streets.split.frames[0].image.parents[1], "train", LABELS, mapping)
    masks = {"f07": np.where(street(7) == 2, 1, street(7)).astype(np.uint8)}
    assert outliers(replace(streets, split=split), tmp_path, masks) == []


def test_an_inverted_mask_has_no_shifted_ids(streets: Survey, tmp_path: Path) -> None:
    masks = {f"f{seed:02}": np.where(street(seed) == 3, 1, 0).astype(np.uint8) for seed in range(FRAMES)}
    assert not any("other ids" in note for note in outliers(streets, tmp_path, masks | {"f05": 1 - masks["f05"]}))


@pytest.mark.parametrize("factor", [7, *long(10, 5)])
def test_a_mask_that_was_drawn_smaller_and_enlarged_is_named(streets: Survey, tmp_path: Path, factor: int) -> None:
    told = outliers(streets, tmp_path, {"f04": enlarged(street(4), factor)})
    (remark,) = [note for note in told if "f04.png" in note and "blocks" in note]
    side = int(remark.partition("(blocks of ")[2].split()[0])
    assert factor <= side <= factor + 1


def test_an_object_that_ends_at_a_straight_edge_of_the_photo_is_no_unlabelled_part(streets: Survey, tmp_path: Path) -> None:
    """A poster whose right side is straight; three tenths of the photo beside it are wall."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[40:110, 50:140] = 1
    photo = np.random.default_rng(0).integers(90, 110, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    photo[ids == 1] += 100
    assert not any("straight border" in note for note in outliers(streets, tmp_path, {"f06": ids}, {"f06": photo}))
    told = outliers(streets, tmp_path, {"f06": ids}, {"f06": np.roll(photo, 40, 1)})
    assert any("f06.png (right 30%)" in note for note in told)
