"""Photos that show nothing, or that are other than the rest of their split, are told with number and name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from model.labels import numbered_labels
from training.survey.datasets import get_split
from training.survey.inspection import Report
from training.survey.records import survey_all

LABELS = numbered_labels(["soil", "leaf"])


def photo(seed: int) -> Image.Image:
    """Dark blocks of random colours, and a light leaf in a place of its own."""
    blocks = np.random.default_rng(seed).integers(0, 120, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).polygon(outline(seed), fill=(210, 250, 180))
    return image


def outline(seed: int) -> list[tuple[int, int]]:
    left, top = 20 + 7 * seed % 60, 20 + 11 * seed % 50
    return [(left, top), (left + 150, top + 30), (left + 90, top + 60 + 3 * seed), (left + 20, top + 90)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve photos, with masks of their own."""
    for seed in range(12):
        add(tmp_path, f"f{seed}", photo(seed), seed)
    return tmp_path


def add(root: Path, name: str, image: Image.Image, seed: int = 20) -> None:
    """A frame with the mask of the leaf of `photo(seed)`."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(exist_ok=True)
    image.save(root / "images" / f"{name}.jpg")
    mask = Image.new("L", (320, 240))
    ImageDraw.Draw(mask).polygon(outline(seed), fill=1)
    mask.resize(image.size, Image.Resampling.NEAREST).save(root / "masks" / f"{name}.png")
    with (root / "train.txt").open("a") as listed:
        listed.write(f"{name}\n")


def remarks(root: Path) -> list[str]:
    (survey,) = survey_all([get_split(root, "train", LABELS)])
    return [note.replace(f"{root}/images/", "") for note in Report(survey).notes]


def test_photos_of_one_kind_give_no_remark(root: Path) -> None:
    assert remarks(root) == []


def test_a_photo_of_one_colour_is_told_with_it(root: Path) -> None:
    add(root, "g", Image.new("RGB", (320, 240)))
    add(root, "h", Image.new("RGB", (320, 240), (10, 200, 30)), 21)
    assert remarks(root) == [
        "2 images of 'train' are of one colour, as a shot of nothing is, so their labels teach nothing: g.jpg, h.jpg"
    ]


def test_a_photo_that_was_saved_after_half_of_its_download_is_told(root: Path) -> None:
    pixels = np.array(photo(20))
    pixels[130:] = 128
    add(root, "g", Image.fromarray(pixels))
    assert remarks(root) == [
        "1 images of 'train' are black or grey in their lower part, as a file that ended too early is when it is saved again: "
        "g.jpg"
    ]


def test_a_thumbnail_is_told_with_its_size(root: Path) -> None:
    add(root, "g", photo(20).resize((80, 60)))
    assert remarks(root) == [
        "1 images of 'train' have less than a tenth of the pixels that the median image has, as a thumbnail has: g.jpg (80x60)"
    ]


def test_many_small_photos_are_no_exceptions(root: Path) -> None:
    for seed in range(20, 25):
        add(root, f"g{seed}", photo(seed).resize((80, 60)), seed)
    assert remarks(root) == []


def test_a_grey_photo_is_told_among_photos_of_colour_alone(root: Path) -> None:
    add(root, "g", photo(20).convert("L"))
    assert remarks(root) == ["1 images of 'train' are grey, nearly all others are not: g.jpg"]
    for seed in range(12):
        photo(seed).convert("L").save(root / "images" / f"f{seed}.jpg")
    assert remarks(root) == []


def test_a_cmyk_photo_is_told(root: Path) -> None:
    add(root, "g", photo(20).convert("CMYK"))
    assert remarks(root) == [
        "1 images of 'train' are CMYK, and are read without their colour profile, so their colours differ from what viewers "
        "show; save them as RGB: g.jpg"
    ]
