"""Photos that show nothing, or that are other than the rest of their split, are told with number and name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.harness.image_files import file_of
from model.labels import numbered_labels
from tests.support.training.data_sets import add_frame, remarks

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
    mask = Image.new("L", (320, 240))
    ImageDraw.Draw(mask).polygon(outline(seed), fill=1)
    add_frame(root, name, image, np.asarray(mask.resize(image.size, Image.Resampling.NEAREST)))


def cut_off(image: Image.Image) -> Image.Image:
    """As it is saved after half of its download."""
    pixels = np.array(image)
    pixels[130:] = 128
    return Image.fromarray(pixels)


WITHOUT_PROFILE = "are CMYK, and are read without their colour profile, so their colours differ from what viewers"
ENDED = "are black or grey in their lower part, as a file that ended too early is when it is saved again"


@pytest.mark.parametrize(
    ("image", "remark"),
    [
        (Image.new("RGB", (320, 240)), "are of one colour, as a shot of nothing is, so their labels teach nothing: g.jpg"),
        (cut_off(photo(20)), f"{ENDED}: g.jpg"),
        (photo(20).resize((80, 60)), "have less than a tenth of the pixels that the median image has, as a thumbnail has: "
         "g.jpg (80x60)"),
        (photo(20).convert("L"), "are grey, nearly all others are not: g.jpg"),
        (photo(20).convert("CMYK"), f"{WITHOUT_PROFILE} show; save them as RGB: g.jpg"),
    ],
)  # fmt: skip
def test_an_odd_photo_is_told_by_name(root: Path, image: Image.Image, remark: str) -> None:
    assert remarks(root, LABELS) == []
    add(root, "g", image)
    assert remarks(root, LABELS) == [f"1 images of 'train' {remark}"]


def test_a_photo_whose_orientation_cannot_be_read_is_told(root: Path) -> None:
    add(root, "g", photo(20))
    (root / "images" / "g.jpg").write_bytes(file_of(photo(20), "JPEG", exif=b"Exif\0\0garbage1 and more"))
    (line,) = remarks(root, LABELS)
    assert line.startswith("1 images of 'train' may lie otherwise than they are read: g.jpg (EXIF cannot be read; ")


def test_many_small_or_grey_photos_are_no_exceptions(root: Path) -> None:
    for seed in range(20, 25):
        add(root, f"g{seed}", photo(seed).resize((80, 60)), seed)
        photo(seed - 20).convert("L").save(root / "images" / f"f{seed - 20}.jpg")
    assert remarks(root, LABELS) == []
