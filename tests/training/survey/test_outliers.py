"""Masks unlike nearly all others of their split are named: shifted ids, no void, no ground, blocks, half a mask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from model.labels import numbered_labels
from tests.support.training.data_sets import write_mask, write_noise
from tests.support.variants import long
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


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("streets"), {f"f{seed:02}": street(seed) for seed in range(FRAMES)})


@pytest.fixture
def root(streets: Path, tmp_path: Path) -> Path:
    """A copy of the streets, which a test may change."""
    return Path(shutil.copytree(streets, tmp_path, dirs_exist_ok=True))


def remarks(root: Path, changes: str | None = None) -> list[str]:
    """The remarks on the split without the folder, those on how masks lie apart: the photos are noise."""
    mapping = parse_class_mapping(changes, LABELS) if changes else None
    (survey,) = survey_all([get_split(root, "train", LABELS, mapping)])
    notes = [note.replace(f"{root}/masks/", "") for note in Report(survey).notes]
    return [note for note in notes if "do not fit their image" not in note]


def shifted(ids: Ids, step: int) -> Ids:
    """All ids but void with `step` added; 0 less one is void, and the last class stays the last."""
    return np.where(ids == 255, 255, (ids + np.int16(step)).clip(-1, len(LABELS) - 1)).astype(np.uint8)


def test_sound_masks_give_no_remark(root: Path) -> None:
    assert remarks(root) == []


def test_a_mask_whose_ids_are_off_by_one_around_the_end_is_named(root: Path) -> None:
    """The last class became the first."""
    ids = street(5)
    write_mask(root, "f05", np.where(ids == 255, 255, (ids + 1) % len(LABELS)).astype(np.uint8))
    assert any("f05.png (ids one too high)" in note for note in remarks(root))


@pytest.mark.parametrize(("step", "text"), [(1, "ids one too high"), (-1, "ids one too low")])
def test_a_mask_whose_ids_are_off_by_one_is_named(root: Path, step: int, text: str) -> None:
    write_mask(root, "f05", shifted(street(5), step))
    (remark,) = [note for note in remarks(root) if "f05.png" in note]
    assert remark == (
        "1 masks of 'train' fit the others only with other ids: those show the classes where these would have them then: "
        f"f05.png ({text})"
    )


def test_a_mask_of_void_alone_has_its_own_remark(root: Path) -> None:
    write_mask(root, "f05", np.full((HEIGHT, WIDTH), 255, np.uint8))
    (remark,) = remarks(root)
    assert "hold no class, only void: f05.png" in remark


def test_an_inverted_mask_has_no_shifted_ids(tmp_path: Path) -> None:
    masks = {f"f{seed:02}": np.where(street(seed) == 3, 1, 0).astype(np.uint8) for seed in range(FRAMES)}
    write_noise(tmp_path, masks | {"f05": 1 - masks["f05"]})
    assert not any("other ids" in note for note in remarks(tmp_path))


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


@pytest.mark.parametrize("factor", [7, *long(10, 5)])
def test_a_mask_that_was_drawn_smaller_and_enlarged_is_named(root: Path, factor: int) -> None:
    small = Image.fromarray(street(4)).resize((WIDTH // factor, HEIGHT // factor), Image.Resampling.NEAREST)
    write_mask(root, "f04", np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)))
    (remark,) = [note for note in remarks(root) if "f04.png" in note and "blocks" in note]
    side = int(remark.partition("(blocks of ")[2].split()[0])
    assert factor <= side <= factor + 1


def test_masks_of_blocks_are_usual_where_there_are_many(root: Path) -> None:
    for seed in range(8):
        small = Image.fromarray(street(seed)).resize((WIDTH // 6, HEIGHT // 6), Image.Resampling.NEAREST)
        write_mask(root, f"f{seed:02}", np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)))
    assert not any("blocks" in note for note in remarks(root))


def test_a_mask_of_rectangles_has_no_blocks(root: Path) -> None:
    ids = street(4)
    ids[:] = 2
    ids[:60] = 0
    ids[60:100] = 1
    ids[90:130, 70:120] = 3
    write_mask(root, "f04", ids)
    assert not any("blocks" in note for note in remarks(root))


@pytest.mark.parametrize("fill", [0, *long(255)])
@pytest.mark.parametrize(
    ("cut", "part"),
    [
        (lambda ids: ids[:, 100:], "right 50%"),
        (lambda ids: ids[:, :70], "left 35%"),
        (lambda ids: ids[75:], "lower 50%"),
    ],
)
def test_a_mask_of_which_a_part_is_unlabelled_is_named(root: Path, cut: Callable[[Ids], Ids], part: str, fill: int) -> None:
    ids = street(6)
    cut(ids)[:] = fill
    write_mask(root, "f06", ids)
    text = f"1 masks of 'train' end at a straight border, as if a part of the photo had no labels: f06.png ({part})"
    assert text in remarks(root)


def test_a_border_from_top_to_bottom_between_two_masks_is_named(root: Path) -> None:
    """The right part is another mask's, which was moved down."""
    ids = street(6)
    ids[:, 120:] = np.where(street(8) == 0, 1, 0)[:, 120:]
    write_mask(root, "f06", ids)
    assert any("f06.png (a border at 60% of the width)" in note for note in remarks(root))


def test_parts_of_one_id_are_usual_where_there_are_many(root: Path) -> None:
    for seed in range(5):
        ids = street(seed)
        ids[:, 100:] = 255
        write_mask(root, f"f{seed:02}", ids)
    assert not any("straight border" in note for note in remarks(root))


def test_an_object_that_ends_at_a_straight_edge_of_the_photo_is_no_unlabelled_part(tmp_path: Path) -> None:
    """A poster whose right side is straight; three tenths of the photo beside it are wall."""
    root = write_noise(tmp_path, {f"f{seed:02}": street(seed) for seed in range(FRAMES)})
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[40:110, 50:140] = 1
    photo = np.random.default_rng(0).integers(90, 110, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    photo[ids == 1] += 100
    write_mask(root, "f06", ids)
    Image.fromarray(photo).save(root / "images" / "f06.png")
    assert not any("straight border" in note for note in remarks(root))
    Image.fromarray(np.roll(photo, 40, 1)).save(root / "images" / "f06.png")
    assert any("f06.png (right 30%)" in note for note in remarks(root))


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
