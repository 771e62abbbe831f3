"""A mask that lies wrongly on its photo is named with what would make it fit, and masks that were swapped are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from model.labels import numbered_labels
from tests.support.images import Pixels, make_photo
from tests.support.imaging.samples import oriented
from tests.support.training.data_sets import Ids, add_frame, write_frame
from training.data.demo import NAMES, write_demo_data
from training.data.split import get_split
from training.survey.copies import swapped_masks, swapped_note
from training.survey.inspection import notes, pair_notes
from training.survey.photos import mean_colors
from training.survey.placement import PhotoEdges, border_cells, edge_cells, swapped
from training.survey.records import survey_all

OUTLINE = [(70, 250), (60, 150), (110, 60), (150, 120), (200, 90), (190, 160), (240, 210), (160, 200), (150, 260)]


def scene(width: int = 400, height: int = 300) -> tuple[Pixels, Ids]:
    """A lopsided object on a ground of many soft edges, and its mask."""
    ground = np.random.default_rng(3).integers(90, 150, (height, width, 3), dtype=np.uint8)
    photo = Image.fromarray(ground).filter(ImageFilter.GaussianBlur(2))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(photo).polygon(OUTLINE, fill=(200, 60, 40))
    ImageDraw.Draw(mask).polygon(OUTLINE, fill=1)
    return np.asarray(photo), np.asarray(mask)


def edges(photo: Pixels) -> PhotoEdges:
    return PhotoEdges(mean_colors(photo))


def moved(ids: Ids, right: int, down: int) -> Ids:
    """The mask moved, with background where nothing is left."""
    result: Ids = ndimage.shift(ids, (down, right), order=0)
    return result


@pytest.mark.parametrize(
    ("width", "plant", "answer"),
    [
        (400, lambda ids: ids[:, ::-1], "mirrored"),
        (400, lambda ids: ids[::-1], "mirrored top to bottom"),
        (400, lambda ids: ids[::-1, ::-1], "turned by 180 degrees"),
        (300, lambda ids: np.rot90(ids, 1), "turned by 90 degrees to the right"),
        (300, lambda ids: np.rot90(ids, 3), "turned by 90 degrees to the left"),
        *((400, partial(moved, right=right, down=down), "moved") for right, down in ((25, 0), (-20, 30), (0, -35))),
    ],
)
def test_a_mask_that_does_not_lie_on_its_photo_is_told_with_how(width: int, plant: Callable[[Ids], Ids], answer: str) -> None:
    """Right angles of square photos alone."""
    photo, ids = scene(width)
    assert edges(photo).better_place(ids) is None
    assert edges(photo).better_place(np.ascontiguousarray(plant(ids))) == answer


def test_without_borders_or_edges_nothing_is_told() -> None:
    photo, ids = scene()
    assert edges(photo).better_place(np.ones_like(ids)) is None
    assert edges(np.full_like(photo, 90)).better_place(ids[:, ::-1]) is None
    assert not edges(photo).fits_better(np.ones_like(ids), ids)


def test_a_mask_fits_better_than_another_one_if_its_borders_lie_on_edges() -> None:
    photo, ids = scene()
    assert edges(photo).fits_better(ids, ids[::-1, ::-1])
    assert not edges(photo).fits_better(ids[::-1, ::-1], ids)


def test_masks_of_photos_that_exif_turns_by_180_degrees_are_told_only_if_they_lie_wrongly(tmp_path: Path) -> None:
    """No remark on photos whose masks fit the upright one, and the name of one that was drawn on the stored one."""
    photo, ids = scene()
    for name, mask in (("right", ids), ("wrong", ids[::-1, ::-1])):
        add_frame(tmp_path, name, Image.fromarray(photo), mask)
        (tmp_path / "images" / f"{name}.jpg").write_bytes(oriented(photo[::-1, ::-1], "JPEG", 3))
    (survey,) = survey_all([get_split(tmp_path, "train", numbered_labels(["ground", "thing"]))], details=True)
    told = "\n".join(notes(survey))
    assert "1 masks of 'train' do not fit their image as they lie" in told
    assert f"{tmp_path / 'masks' / 'wrong.png'} (turned by 180 degrees)" in told
    assert "1 images of 'train' are turned by EXIF, such as" in told
    assert f"{tmp_path / 'images' / 'wrong.jpg'}: masks are read" in told


@pytest.mark.parametrize("swapped", [True, False])
def test_two_masks_that_were_swapped_are_not_told_as_moved_as_well(tmp_path: Path, swapped: bool) -> None:
    """The other photo shows the same object 30 pixels to the right, so each mask would fit if it were moved."""
    photo, ids = scene()
    frames = {"a": (photo, ids), "b": (np.roll(photo, 30, 1), moved(ids, 30, 0))}
    for name, other in (("a", "b"), ("b", "a")):
        mask = frames[other][1] if swapped else moved(frames[name][1], 0, -30)
        write_frame(tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png", mask, frames[name][0])
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "val.txt").write_text("b\n")
    surveys = survey_all(
        [get_split(tmp_path, name, numbered_labels(["ground", "thing"])) for name in ("train", "val")], details=True
    )
    told = "\n".join(pair_notes(*surveys))
    assert ("1 pairs of masks fit each other's image better" in told) == swapped
    assert ("do not fit their image as they lie" in told) != swapped


REMARK = "pairs of masks fit each other's image better than their own"


@pytest.mark.parametrize("pair", [("train_002", "train_005"), ("train_007", "val_001")])
def test_swapped_masks_are_told_by_name(pair: tuple[str, str], tmp_path: Path) -> None:
    """In one split, and between splits, of any size; nothing is said of the masks as they were drawn."""
    write_demo_data(tmp_path, train=12, val=4)
    surveys = survey_all([get_split(tmp_path, name, numbered_labels([*NAMES])) for name in ("train", "val")], details=True)
    assert swapped_masks(surveys) == []
    masks = [tmp_path / "SegmentationClass" / f"{name}.png" for name in pair]
    for mask, other in zip(masks, [Image.open(path).resize((500, 300), 0) for path in reversed(masks)], strict=True):
        other.save(mask)
    for name in pair:
        photo = tmp_path / "JPEGImages" / f"{name}.jpg"
        Image.open(photo).resize((500, 300)).save(photo)
    surveys = survey_all([get_split(tmp_path, name, numbered_labels([*NAMES])) for name in ("train", "val")], details=True)
    (note,) = swapped_note(swapped_masks(surveys))
    assert note == f"1 {REMARK}, as if they were swapped: {masks[0]} and {masks[1]}"


def test_frames_without_borders_or_edges_say_nothing() -> None:
    flat, photo = np.full((40, 50, 3), 90, np.uint8), make_photo(40, 50)
    half = np.zeros((40, 50), np.uint8)
    half[:, 20:] = 1
    edges = [edge_cells(mean_colors(each)) for each in (flat, photo)]
    assert swapped(edges, [border_cells(half), border_cells(np.zeros_like(half))]) == []
    assert swapped([], []) == []
