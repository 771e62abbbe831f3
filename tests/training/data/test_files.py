"""Names of files as different machines spell them, text in other encodings, and lists of frames."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of
from cli.image_names import kind_of
from imaging.decoding import ENDINGS_OF_FORMATS, Limits, decode
from model.labels import voc_labels
from tests.support.imaging.heic_files import heic_of
from tests.support.training.data_sets import IDS, find_frames, write_frame, write_voc
from training.data.files import images_below, read_text
from training.data.layouts import list_frames
from training.data.problems import DataError
from training.data.split import get_split
from training.survey.records import survey_all

NAME = "Blätter 1"


@pytest.mark.parametrize(("image_form", "other_form"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_images_masks_and_lists_match_across_unicode_forms(
    tmp_path: Path, image_form: Literal["NFC"], other_form: Literal["NFC"]
) -> None:
    image, other = (unicodedata.normalize(form, NAME) for form in (image_form, other_form))
    write_frame(tmp_path / "images" / f"{image}.jpg", tmp_path / "masks" / f"{other}.png", IDS)
    (tmp_path / "train.txt").write_text(other, encoding="utf-8")
    (frame,) = find_frames(tmp_path, "train")
    assert (frame.name, frame.image.name, frame.mask.name) == (NAME, f"{image}.jpg", f"{other}.png")


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
    (tmp_path / "train.txt").write_text("a")
    assert [frame.image for frame in find_frames(tmp_path, "train")] == [photo]
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


@pytest.mark.parametrize(
    "mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, b""], ids=repr
)
def test_files_may_begin_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    """Recipes, lists and files of classes are read as this list is."""
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be", codecs.BOM_UTF32_LE: "utf-32-le"}
    write_frame(tmp_path / "images" / f"{NAME}.jpg", tmp_path / "masks" / f"{NAME}.png", IDS)
    (tmp_path / "train.txt").write_bytes(mark + f"{NAME}\r\n".encode(encoding.get(mark, "utf-8")))
    assert [frame.name for frame in find_frames(tmp_path, "train")] == [NAME]


def test_text_of_another_encoding_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_bytes('{"classes": ["Blätter"]}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.json is not text in utf-8: byte 16 is wrong; save it as UTF-8"):
        read_text(tmp_path / "classes.json")


def write_png_photos(root: Path, *names: str) -> Path:
    """A folder whose photos are PNGs, of which each could be read as a mask."""
    for name in names:
        write_frame(root / "images" / f"{name}.png", root / "masks" / f"{name}.png", IDS, np.dstack([IDS] * 3))
    return root


@pytest.mark.parametrize(
    "line",
    [
        "{root}/images/../images/sub/a.png",
        "./images/sub/a",
        "..\\images\\sub\\a.png",
        "sub/../sub/a.PNG",
        "{link}/images/sub/a.png",
    ],
)
def test_paths_into_the_folder_of_images_name_frames_and_never_a_photo_as_its_mask(tmp_path: Path, line: str) -> None:
    root = write_png_photos(tmp_path / "data", "sub/a")
    (tmp_path / "link").symlink_to("data")
    (root / "train.txt").write_text(line.format(root=root, link=tmp_path / "link") + "\n")
    (frame,) = find_frames(root, "train")
    assert (frame.name, frame.image, frame.mask) == ("sub/a", root / "images/sub/a.png", root / "masks/sub/a.png")
    assert list_frames(root, "train").notes == []


@pytest.mark.parametrize("line", ["/elsewhere/images/a.png", "../../other/a.png", "C:\\data\\images\\a.png", "../masks/a.png"])
@pytest.mark.parametrize("layout", ["plain", "voc"])
def test_paths_that_lead_elsewhere_are_errors_that_say_so(tmp_path: Path, line: str, layout: str) -> None:
    if layout == "plain":
        write_png_photos(tmp_path, "a")
        write_frame(tmp_path.parent / "other" / "a.png", tmp_path / "other" / "a.png", IDS)
        lists = tmp_path
    else:
        write_voc(tmp_path, {"a": IDS})
        lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text(f"a\n{line}\n")
    listing = list_frames(tmp_path, "train")
    assert [frame.name for frame in listing.frames] == ["a"]
    (error,) = listing.missing
    assert "is listed and leads out of" in str(error)


def test_pairs_may_be_absolute_and_lead_nowhere_else(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": IDS})
    listing = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    for image, mask in (("/JPEGImages", "{root}/SegmentationClass"), ("{root}/JPEGImages", "/SegmentationClass")):
        listing.write_text(f"{image}/a.png {mask}/a.png\n".format(root=tmp_path))
        (frame,) = find_frames(tmp_path, "train")
        assert (frame.image, frame.mask) == (tmp_path / "JPEGImages/a.png", tmp_path / "SegmentationClass/a.png")
    for word in ("../b.png", "/elsewhere/b.png", "C:/b.png"):
        listing.write_text(f"/JPEGImages/a.png {word}\n")
        with pytest.raises(DataError, match=r"leads out of|no such mask"):
            find_frames(tmp_path, "train")


@pytest.mark.parametrize("how", ["pair", "copy", "link to the folder"])
def test_a_photo_is_never_its_own_mask(tmp_path: Path, how: str) -> None:
    write_voc(tmp_path, {"a": IDS})
    photo, mask = tmp_path / "JPEGImages" / "a.png", tmp_path / "SegmentationClass" / "a.png"
    Image.fromarray(IDS).save(photo)  # it would be a sound mask
    mask.unlink()
    if how == "pair":
        line = "/JPEGImages/a.png /JPEGImages/a.png\n"
        (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text(line)
    elif how == "copy":
        mask.write_bytes(photo.read_bytes())
    else:
        mask.parent.rmdir()
        mask.parent.symlink_to("JPEGImages")
    with pytest.raises(DataError, match=r"a\.png: the mask and its image .*a\.png are one file, or copies of it"):
        survey_all([get_split(tmp_path, "train", voc_labels())])
