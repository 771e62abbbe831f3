"""Outlines that reach outside of their photos, and photos of another size than the labelled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.training.coco import Import, document, image, thing, write_export


def test_an_object_outside_of_its_photo_is_told_by_name(run_import: Import, tmp_path: Path) -> None:
    """Also one that is a box."""
    content = document(thing(0, segmentation=[[5, 5, 15, 5, 15, 15, 5, 15]]), thing(1, bbox=[40, 10, 50, 20]))
    stdout = run_import(write_export(tmp_path / "labels.json", content))
    assert "1 objects lie to more than a tenth outside of their photos, and that part is left out: " in stdout
    assert ".png: the object 1 of image 1, leaf, 60%" in stdout


OTHER = "give the photo that was labelled, or write"


@pytest.mark.parametrize(
    ("size", "orientation", "advice"),
    [
        ((120, 180), 1, OTHER), ((60, 40), 1, OTHER), ((0, "x"), 1, OTHER), ((120, 180), 6, OTHER),
        ((40, 60), 6, "EXIF turns it: --masks-orientation says"),
    ],
)  # fmt: skip
def test_a_photo_of_another_size_than_labelled_is_an_error(
    run_import: Import, size: tuple[Any, Any], orientation: int, advice: str, tmp_path: Path
) -> None:
    content = document(thing(), images=[image(1, "a.jpg", height=size[0], width=size[1])])
    file = write_export(tmp_path / "labels.json", content, "a.jpg")
    turn(file.with_name("a.jpg"), orientation)
    upright = (40, 60) if orientation == 1 else (60, 40)
    assert f"a.jpg is {size} in the JSON, {upright} upright; {advice}" in run_import(file, status=2)


def turn(photo: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(photo).save(photo, exif=exif)


def test_objects_on_the_stored_photo_are_told_from_those_on_the_upright_one(run_import: Import, tmp_path: Path) -> None:
    """EXIF turns the photo of 60x40 pixels to 40x60; the JSON says 40x60, and the objects lie on 60x40."""
    content = document(thing(segmentation=[40, 10, 58, 10, 58, 30, 40, 30]), images=[image(1, "a.jpg", height=60, width=40)])
    file = write_export(tmp_path / "export" / "labels.json", content, "a.jpg")
    turn(file.with_name("a.jpg"), 6)
    assert "they reach from 1 to 1.4 times the width" in run_import(file, status=2)
