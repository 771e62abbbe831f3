"""Images of one split that are copies of each other are named, and whether their labels agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.labels import numbered_labels
from tests.support.training.data_sets import Ids, add_frame, write_mask
from tests.support.variants import long
from training.data.split import get_split
from training.survey.copies import copied_images, shared_frames
from training.survey.inspection import pair_notes
from training.survey.records import survey_all

LABELS = numbered_labels(["soil", "leaf"])


def photo(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC)


def mask(seed: int) -> Ids:
    ids = np.zeros((240, 320), np.uint8)
    ids[20 : 100 + 9 * seed, 30:200] = 1
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(8):
        add_frame(tmp_path, f"f{seed}", photo(seed), mask(seed))
    return tmp_path


def remarks(root: Path) -> list[str]:
    (survey,) = survey_all([get_split(root, "train", LABELS)], file=root / "survey.json")
    return [remark.replace(f"{root}/images/", "") for remark in copied_images(survey)]


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((6, 4, 316, 236))


@pytest.mark.parametrize("change", [ImageOps.mirror, cropped, *long(ImageOps.flip, lambda image: image.resize((160, 120)))])
def test_a_changed_copy_is_told_with_whether_its_labels_differ(
    root: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    assert remarks(root) == []
    ids = np.asarray(change(Image.fromarray(mask(3))))
    add_frame(root, "g", change(photo(3)), ids)
    text = "1 images of 'train' look like another, as scaled, cropped, mirrored or recompressed copies do: g.jpg like f3.jpg"
    assert remarks(root) == [text]
    write_mask(root, "g", np.where(ids == 1, 0, 1).astype(np.uint8))
    assert remarks(root) == [f"{text} (their labels differ)"]


def test_an_equal_file_with_other_labels_is_told_so(root: Path) -> None:
    add_frame(root, "g", photo(2), mask(2))
    text = "1 images of 'train' are copies of another, byte for byte: g.jpg like f2.jpg"
    assert remarks(root) == [text]
    write_mask(root, "g", mask(1))
    assert remarks(root) == [f"{text} (their labels differ)"]


def noisy(image: Image.Image, level: int) -> Image.Image:
    """The image with coarse noise of so many levels."""
    noise = Image.effect_noise((12, 10), level).resize(image.size, Image.Resampling.BICUBIC)
    return Image.blend(image, Image.merge("RGB", [noise] * 3), 0.25)


def test_of_several_images_that_look_alike_the_nearest_is_named(root: Path) -> None:
    """In one split, and between two; the nearest comes after a farther one in the list."""
    for seed in range(8, 40):
        add_frame(root, f"f{seed}", photo(seed).resize((80, 60)), mask(seed % 8)[::4, ::4])
    add_frame(root, "g-far", noisy(photo(3), 60), mask(3))
    add_frame(root, "g-near", cropped(photo(3)).resize((320, 240)), mask(3))
    add_frame(root, "h", cropped(photo(3)).resize((320, 240)).rotate(0.3), mask(3))
    (remark,) = remarks(root)
    assert "h.jpg like g-near.jpg" in remark
    (root / "val.txt").write_text("h\n")
    lines = (root / "train.txt").read_text().replace("h\n", "")
    (root / "train.txt").write_text(lines)
    train, validation = survey_all([get_split(root, name, LABELS) for name in ("train", "val")], file=root / "survey.json")
    (note,) = [note for note in pair_notes(train, validation) if "look like images of 'train', as copies and" in note]
    assert f"{root}/images/h.jpg like {root}/images/g-near.jpg;" in note


def test_nothing_is_told_of_the_frames_of_a_video(root: Path) -> None:
    for step in range(4):
        add_frame(root, f"g{step}", photo(5).crop((step, 0, 310 + step, 240)), mask(5)[:, step : 310 + step])
    assert remarks(root) == []


def test_frames_of_both_splits_are_refused_whatever_their_names(root: Path) -> None:
    add_frame(root, "copy", photo(3), mask(3))
    add_frame(root, "other", photo(9), mask(3))
    (root / "train.txt").write_text("".join(f"f{seed}\n" for seed in range(8)))
    (root / "val.txt").write_text("copy\nother\n")
    train, val = survey_all([get_split(root, name, LABELS) for name in ("train", "val")])
    (error,) = shared_frames(train, val)
    assert re.search(r"1 of 2 frames of 'val' are in 'train' too: .*copy\.jpg", str(error))
    (root / "val.txt").write_text("other\n")
    assert shared_frames(train, survey_all([get_split(root, "val", LABELS)])[0]) == []
