"""Masks as ids and as colours, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.image_files import file_of, png_of
from common.arrays import Ids
from model.labels import VOID_COLOR, LabelClass, LabelSet, numbered_labels, voc_labels
from tests.support.imaging.samples import oriented, with_chunk
from tests.support.training.data_sets import in_palette
from training.data.masks import Colors, Meaning, interpret, label_colors, open_mask
from training.data.problems import DataError

FOUR = numbered_labels(["a", "b", "c", "d"])
IDS = np.array([[0, 1, 20], [8, 15, 255]], np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def read_mask(path: Path, labels: LabelSet, colors: Colors, meaning: Meaning = "ids") -> Ids:
    return interpret(open_mask(path), labels, colors, meaning)


def test_colours_are_looked_up_void_s_too(tmp_path: Path) -> None:
    labels = voc_labels()
    colours = np.asarray(labels.palette, np.uint8)[IDS]
    assert colours[1, 2].tolist() == list(VOID_COLOR)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", colours), labels, label_colors(labels)), IDS)


def test_a_colour_of_two_classes_stands_for_neither(tmp_path: Path) -> None:
    labels = LabelSet(tuple(LabelClass(i, str(i), (9, 9, 9) if i else (0, 0, 0)) for i in range(3)))
    assert label_colors(labels) == {(0, 0, 0): 0, VOID_COLOR: 255}
    with pytest.raises(DataError, match="#090909"):
        read_mask(save(tmp_path / "a.png", np.full((2, 2, 3), 9, np.uint8)), labels, label_colors(labels))


def test_an_id_outside_the_label_set_is_named(tmp_path: Path) -> None:
    """With the option for palettes, whose colours may be meant."""
    ids, labels = np.array([[0, 7, 9, 255]], np.uint8), numbered_labels(["a", "b"])
    with pytest.raises(DataError, match=r"a\.png: ids \[7, 9\] are neither one of 2 classes nor void$"):
        read_mask(save(tmp_path / "a.png", ids), labels, {})
    in_palette(ids).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"ids \[7, 9\] .* give --masks colors"):
        read_mask(tmp_path / "a.png", labels, {})


PLAIN = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)


def packed(depth: int, color_type: int) -> bytes:
    """A PNG of `PLAIN` in so many bits a sample, grey (0) or with a palette (3)."""
    bits = [np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].ravel() for row in PLAIN & (2**depth - 1)]
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    palette = {"PLTE": bytes(value % 256 for value in range(3 * 2**depth))} if color_type == 3 else {}
    return png_of(PLAIN.shape[1], PLAIN.shape[0], depth, color_type, rows, **palette)


@pytest.mark.parametrize("color_type", [0, 3], ids=["grey", "palette"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_ids_of_few_bits_are_read_as_they_are(tmp_path: Path, depth: int, color_type: int) -> None:
    """Pillow spreads grey of 2 and 4 bits over 0 to 255."""
    (tmp_path / "a.png").write_bytes(packed(depth, color_type))
    ids = read_mask(tmp_path / "a.png", FOUR, label_colors(FOUR))
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, PLAIN & (2**depth - 1))


@pytest.mark.parametrize("mode", ["I;16", "LA", "RGB", "RGBA"])
def test_plain_ids_in_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PLAIN.astype(np.uint16)) if mode == "I;16" else Image.fromarray(PLAIN).convert(mode)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png", FOUR, label_colors(FOUR)), PLAIN)


def test_black_and_white_are_read_by_colours_where_that_is_asked_for(tmp_path: Path) -> None:
    """Label Studio's brush masks; in any mode."""
    labels = LabelSet((LabelClass(0, "ground", (0, 0, 0)), LabelClass(1, "leaf", (255, 255, 255))))
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image.convert(mode).save(tmp_path / "a.png")
        assert read_mask(tmp_path / "a.png", labels, label_colors(labels), "colors").tolist() == [[0, 1], [1, 0]]


def test_values_are_ids_whatever_the_palette_says(tmp_path: Path) -> None:
    """labelme's palette is VOC's; the classes' own colours may be VOC's in another order."""
    labels = LabelSet(tuple(LabelClass(i, str(i), color) for i, color in enumerate([(0, 0, 0), (0, 128, 0), (128, 0, 0)])))
    ids = np.array([[0, 1, 2, 255], [1, 1, 0, 2]], np.uint8)
    path = tmp_path / "a.png"
    for shown in (ids, ids[:, :2], ids[:, 2:], np.full((2, 2), 2, np.uint8)):
        in_palette(shown).save(path)
        assert np.array_equal(read_mask(path, labels, label_colors(labels)), shown)
    assert open_mask(path).contradiction(labels, label_colors(labels)) == (2, 1)


def test_an_optimised_palette_is_looked_up_by_its_colours_where_that_is_asked_for(tmp_path: Path) -> None:
    labels, ids = voc_labels(), np.array([[0, 15, 15], [8, 0, 255]], np.uint8)
    colours = Image.fromarray(np.asarray(labels.palette, np.uint8)[ids])
    path = tmp_path / "a.png"
    colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(path)
    with Image.open(path) as image:
        values = np.asarray(image)
    assert sorted(np.unique(values)) == [0, 1, 2, 3]
    assert np.array_equal(read_mask(path, labels, label_colors(labels), "colors"), ids)
    assert np.array_equal(read_mask(path, labels, label_colors(labels)), values)
    assert open_mask(path).contradiction(labels, label_colors(labels)) is not None


def test_a_palette_of_other_colours_or_the_classes_own_contradicts_nothing(tmp_path: Path) -> None:
    labels, path = voc_labels(), tmp_path / "a.png"
    for palette in ([(value, value, value) for value in range(256)], labels.palette):
        in_palette(IDS, palette).save(path)
        assert open_mask(path).contradiction(labels, label_colors(labels)) is None
        assert np.array_equal(read_mask(path, labels, label_colors(labels)), IDS)


def encoded(image: Image.Image) -> bytes:
    return file_of(image, "PNG")


def transparent(mode: str) -> bytes:
    image = Image.fromarray(PLAIN).convert(mode)
    image.putalpha(Image.fromarray(255 - PLAIN))
    return encoded(image)


def of_16_bits(color_type: int, samples: int) -> bytes:
    """Pillow drops the lower byte, and with it the id."""
    return png_of(2, 1, 16, color_type, b"\0" + b"\0\1" * samples + b"\0\2" * samples)


ROWS = b"".join(b"\0" + row.tobytes() for row in PLAIN)
REFUSED: dict[str, tuple[bytes, str]] = {
    "a colour of no class": (encoded(Image.new("RGB", (2, 2), (1, 2, 3))), r"colours \['#010203'\] stand for no class, or for"),
    "black and white in RGB are no void": (encoded(Image.fromarray(PLAIN % 2 * 255).convert("RGB")), "#ffffff"),
    "transparent grey": (transparent("LA"), "a mask has no transparent pixels"),
    "transparent RGB": (transparent("RGBA"), "a mask has no transparent pixels"),
    "16 bits": (encoded(Image.fromarray(PLAIN.astype(np.uint16) * 257)), r"ids \[257, 514, 771\] are neither one of 4 classes"),
    "RGB of 16 bits": (of_16_bits(2, 3), "a mask of 16 bits must be grey, got mode"),
    "LA of 16 bits": (of_16_bits(4, 2), "a mask of 16 bits must be grey, got mode"),
    # Pillow leaves the last rows at 0, which is a class
    "without its last rows": (png_of(4, 2, 8, 0, ROWS[:5]), "damaged: its rows take 10 bytes, and its stream ends after 5"),
    "EXIF turns it": (oriented(PLAIN, "PNG", 6), r"EXIF turns the mask itself \(orientation 6\)"),
    "EXIF may turn it": (with_chunk(encoded(Image.fromarray(PLAIN)), b"eXIf", b"MM\0*", checksum=0), "its EXIF cannot be read"),
    # Pillow shows an index beyond the palette black, which is a class
    "beyond the palette": (png_of(4, 2, 8, 3, ROWS, PLTE=bytes(9)), "its palette has 3 colours, and a pixel has number 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_misread_is_refused(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    (tmp_path / "a.png").write_bytes(content)
    meaning: Meaning = "colors" if case == "beyond the palette" else "ids"
    with pytest.raises(DataError, match=rf"a\.png: .*{message}"):
        read_mask(tmp_path / "a.png", FOUR, label_colors(FOUR), meaning)


def test_a_mask_that_exif_leaves_as_it_is_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(oriented(PLAIN, "PNG", 1))
    assert np.array_equal(read_mask(tmp_path / "a.png", FOUR, {}), PLAIN)


@pytest.mark.parametrize("kind", [b"iCCP", b"gAMA", b"zTXt"])
def test_a_damaged_chunk_that_is_not_of_the_pixels_hides_no_ids(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.png").write_bytes(with_chunk(encoded(Image.fromarray(PLAIN)), kind, b"x" * 9, checksum=0))
    assert np.array_equal(read_mask(tmp_path / "a.png", FOUR, {}), PLAIN)


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "unknown"])
def test_what_is_no_png_by_its_bytes_is_refused(tmp_path: Path, format: str) -> None:
    """A lossy format may change ids; Pillow reads some others otherwise than their authors mean."""
    (tmp_path / "a.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    if format != "unknown":
        Image.new("L", (8, 8)).save(tmp_path / "a.png", format)
    size = (tmp_path / "a.png").stat().st_size
    with pytest.raises(DataError, match=rf"a\.png: its {size} bytes are no PNG \({format}\); export masks as PNG"):
        read_mask(tmp_path / "a.png", FOUR, {})
