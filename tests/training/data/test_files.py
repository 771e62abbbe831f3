"""Names of files as different machines spell them, and text in other encodings."""

from __future__ import annotations

import codecs
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from cli.image_names import kind_of
from imaging.decoding import ENDINGS_OF_FORMATS, Limits, decode
from tests.support.imaging.heic_files import heic_of
from tests.support.training.data_sets import write_frame
from tests.support.training.frames import find_frames
from training.data.files import images_below, read_text
from training.data.label_files import read_labels
from training.data.problems import DataError
from training.learning.recipe import make_recipe

IDS = np.array([[0, 1, 1], [2, 3, 255]], np.uint8)
NAME = "Blätter 1"


@pytest.mark.parametrize(
    ("image_form", "mask_form", "list_form"), [("NFC", "NFD", "NFD"), ("NFD", "NFC", "NFC"), ("NFD", "NFC", None)]
)
def test_images_masks_and_lists_match_across_unicode_forms(
    tmp_path: Path, image_form: str, mask_form: str, list_form: str | None
) -> None:
    image, mask = (unicodedata.normalize(form, NAME) for form in (image_form, mask_form))  # type: ignore[arg-type]
    write_frame(tmp_path / "images" / f"{image}.jpg", tmp_path / "masks" / f"{mask}.png", IDS)
    if list_form:
        (tmp_path / "train.txt").write_text(unicodedata.normalize(list_form, NAME), encoding="utf-8")  # type: ignore[arg-type]
    frames = [frame for split in ("train", "val") if split == "train" or not list_form for frame in find_some(tmp_path, split)]
    assert [frame.name for frame in frames] == [NAME]
    assert (frames[0].image.name, frames[0].mask.name) == (f"{image}.jpg", f"{mask}.png")


def find_some(root: Path, split: str) -> list:  # type: ignore[type-arg]
    try:
        return find_frames(root, split)
    except DataError:
        return []


@pytest.mark.parametrize(
    ("format", "ending"), [(format, ending) for format, endings in ENDINGS_OF_FORMATS.items() for ending in endings]
)
def test_every_ending_of_a_format_that_is_read_is_found_in_folders(tmp_path: Path, format: str, ending: str) -> None:
    """Trainings and the command line take the endings from one table."""
    write_frame(tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png", IDS)
    (tmp_path / "images" / "a.png").unlink()
    photo = tmp_path / "images" / f"a{ending.upper()}"
    image = Image.new("RGB", (3, 2))
    photo.write_bytes(heic_of(image) if format == "HEIF" else file_of(image, format))
    assert decode(photo.read_bytes(), Limits()).shape == (2, 3, 3)
    assert [frame.image for split in ("train", "val") for frame in find_some(tmp_path, split)] == [photo]
    assert kind_of(photo.name) == "image"


def test_less_usual_endings_of_photos_are_known() -> None:
    endings = ("jfif", "jpe", "jfi", "jif", "pjpeg", "pjp", "mpo", "dib", "apng", "avifs")
    assert {kind_of(f"a.{ending}") for ending in endings} == {"image"}


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_frame(tmp_path / "images" / split / "a.jpg", tmp_path / "masks" / split / "a.png", IDS)
        for folder, name in (("images", "._a.jpg"), ("masks", "._a.png")):
            (tmp_path / folder / split / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX" / "images").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "images" / "b.jpg").write_bytes(b"\0\5\x16\7")
    assert [frame.name for split in ("train", "val") for frame in find_frames(tmp_path, split)] == ["a", "a"]
    assert [path.name for path in images_below(tmp_path)] == ["a.jpg", "a.jpg", "a.png", "a.png"]


@pytest.mark.parametrize("ending", ["json", "yaml"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-8")],
    ids=["utf-8", "utf-16-le", "utf-16-be", "none"],
)
def test_files_may_begin_with_a_byte_order_mark(tmp_path: Path, mark: bytes, encoding: str, ending: str) -> None:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_bytes(mark + text.encode(encoding))
        return str(tmp_path / name)

    names = ["background", "Blätter"]
    classes = write(f"classes.{ending}", json.dumps({"classes": names}, ensure_ascii=False))
    assert read_labels(classes).names == names
    assert make_recipe(Path(write("recipe.toml", "epochs = 3\r\n")), {}).epochs == 3
    write_frame(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", IDS)
    write("train.txt", "a\r\n")
    assert [frame.name for frame in find_frames(tmp_path, "train")] == ["a"]


def test_text_of_another_encoding_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_bytes('{"classes": ["Blätter"]}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.json is not text in utf-8: byte 16 is wrong; save it as UTF-8"):
        read_text(tmp_path / "classes.json")
