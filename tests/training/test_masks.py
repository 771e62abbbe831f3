"""Masks as ids and as colours, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.labels import VOID_COLOR, LabelClass, LabelSet, numbered_labels, voc_labels
from training.masks import MaskError, label_colors, read_mask

IDS = np.array([[0, 1, 20], [8, 15, 255]], np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_grey_and_palette_masks_are_ids(tmp_path: Path) -> None:
    labels = voc_labels()
    assert np.array_equal(read_mask(save(tmp_path / "grey.png", IDS), labels, {}), IDS)
    palette = Image.fromarray(IDS)
    palette.putpalette(np.asarray(labels.palette, np.uint8).tobytes())
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_mask(tmp_path / "palette.png", labels, {}), IDS)


def test_colours_are_looked_up_void_s_too(tmp_path: Path) -> None:
    labels = voc_labels()
    colours = np.asarray(labels.palette, np.uint8)[IDS]
    assert colours[1, 2].tolist() == list(VOID_COLOR)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", colours), labels, label_colors(labels)), IDS)


def test_a_colour_of_no_class_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((2, 2, 3), (1, 2, 3), np.uint8))
    with pytest.raises(MaskError, match=r"a\.png: colours \['#010203'\] stand for no class"):
        read_mask(path, voc_labels(), label_colors(voc_labels()))


def test_a_colour_of_two_classes_stands_for_neither(tmp_path: Path) -> None:
    labels = LabelSet(tuple(LabelClass(i, str(i), (9, 9, 9) if i else (0, 0, 0)) for i in range(3)))
    assert label_colors(labels) == {(0, 0, 0): 0, VOID_COLOR: 255}
    with pytest.raises(MaskError, match="#090909"):
        read_mask(save(tmp_path / "a.png", np.full((2, 2, 3), 9, np.uint8)), labels, label_colors(labels))


def test_an_id_outside_the_label_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"a\.png: ids \[7, 9\] are neither one of 2 classes nor void"):
        read_mask(save(tmp_path / "a.png", np.array([[0, 7, 9, 255]], np.uint8)), numbered_labels(["a", "b"]), {})


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "1", "CMYK"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (2, 2)).save(path)
    with pytest.raises(MaskError, match="must be an 8-bit grey, palette or RGB image, got mode"):
        read_mask(path, voc_labels(), {})


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no mask")
    with pytest.raises(MaskError, match=r"a\.png: not an image"):
        read_mask(tmp_path / "a.png", voc_labels(), {})


def test_a_palette_that_was_put_in_another_order_is_looked_up_by_its_colours(tmp_path: Path) -> None:
    """As optimisers of PNG write it. A palette of other colours says nothing, and ids are ids."""
    labels, ids = voc_labels(), np.array([[0, 15, 15], [8, 0, 255]], np.uint8)
    colours = Image.fromarray(np.asarray(labels.palette, np.uint8)[ids])
    path = tmp_path / "a.png"
    colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(path)
    with Image.open(path) as image:
        assert sorted(np.unique(np.asarray(image))) == [0, 1, 2, 3]
    assert np.array_equal(read_mask(path, labels, label_colors(labels)), ids)
    grey = Image.fromarray(ids)
    grey.putpalette([value for index in range(256) for value in (index, index, index)])
    grey.save(path)
    assert np.array_equal(read_mask(path, labels, label_colors(labels)), ids)
