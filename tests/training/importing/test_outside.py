"""How much of an outline lies outside of its photo, and when that is an error of the document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.images import make_photo
from tests.support.imaging.samples import oriented
from tests.support.training.coco import SIZE, Import, document, image, thing, write_export
from training.importing.coco import make_document
from training.importing.documents import outside_error
from training.importing.objects import box_outside, share_outside

FILE = Path("labels.json")
Polygon = list[float]


def box(left: float, top: float, width: float, height: float, scale: float = 1) -> Polygon:
    right, bottom = left + width, top + height
    return [scale * value for value in (left, top, right, top, right, bottom, left, bottom)]


@pytest.mark.parametrize(
    ("polygon", "outside"),
    [
        (box(0, 0, 60, 40), None),
        (box(-1, -1, 3, 3), None),
        (box(-2, -1, 63, 42), None),  # less than a tenth
        (box(40, 10, 50, 20), 0.6),
        (box(-30, -20, 60, 40), 0.75),
        (box(200, 5, 9, 9), 1),
        (box(58.4, 5, 3, 3), 1.4 / 3),
        ([40, 10, 90, 30, 90, 10, 40, 30], 0.6),  # crosses itself
        ([70.0, 5, 90, 5, 100, 5], 1),  # a line
    ],
)
def test_the_share_of_the_box_around_an_outline_outside_of_its_photo(polygon: Polygon, outside: float | None) -> None:
    """Within a pixel it is none."""
    corners = box_outside([polygon], SIZE)
    assert (corners is None) == (outside is None)
    assert corners is None or share_outside(corners) == pytest.approx(outside, abs=0.01)


SMALL = [box(58.4, 5, 3, 3), box(-1.6, 5, 3, 3), box(30, 38.4, 3, 3)]
GRID = [(x, y, 12, 9) for x in (1, 24, 48) for y in (1, 16, 31)]
INSIDE, WIDE = box(5, 5, 10, 10), box(40, 10, 50, 20)


@pytest.mark.parametrize(
    ("polygons", "words"),
    [
        ([INSIDE, WIDE], ""),  # half of the objects are not most
        (SMALL, ""),  # a few pixels are carelessness
        (
            [WIDE],
            "1 of 1 objects lie to more than a tenth outside of their photos, such as a.png: the object 0 of image 1",
        ),
        (
            [box(*place, 3) for place in GRID],
            "leaf, 100%, and 5 more: they reach from 0.05 to 3 times the width and from",
        ),
        ([box(*place, 3) for place in GRID], "so photos 3 times as wide and 3 times as high would fit; give the photos"),
        ([*(box(*place, 3) for place in GRID * 20), box(9000, 0, 9, 9)], "to 3 times the width"),  # an outlier says nothing
        ([box(5, -15, 10, 10), box(10, -30, 20, 20)], "from -0.75 to -0.12 times the height; give the photos"),
    ],
)
def test_most_objects_outside_are_an_error_that_says_how_far_they_reach(polygons: list[Polygon], words: str) -> None:
    objects = [(thing(index), box_outside([polygon], SIZE)) for index, polygon in enumerate(polygons)]
    outside = [(entry, corners) for entry, corners in objects if corners is not None]
    error = outside_error(make_document(FILE, document(*(entry for entry, _ in objects))), outside)
    assert words in str(error) if words else error is None
    assert len(str(error)) < 500


def test_an_object_outside_of_its_photo_is_told_by_name(run_import: Import, tmp_path: Path) -> None:
    """Also one that is a box."""
    content = document(thing(0, segmentation=[[5, 5, 15, 5, 15, 15, 5, 15]]), thing(1, bbox=[40, 10, 50, 20]))
    stdout = run_import(write_export(tmp_path / "labels.json", content))
    assert "1 objects lie to more than a tenth outside of their photos, and that part is left out: " in stdout
    assert ".png: the object 1 of image 1, leaf, 60%" in stdout


OTHER_SIZE = "give the photo that was labelled, or write"


@pytest.mark.parametrize(
    ("size", "orientation", "advice"),
    [
        ((120, 180), 1, OTHER_SIZE), ((60, 40), 1, OTHER_SIZE), ((0, "x"), 1, OTHER_SIZE), ((120, 180), 6, OTHER_SIZE),
        ((40, 60), 6, "EXIF turns it: --masks-orientation says"),
    ],
)  # fmt: skip
def test_a_photo_of_another_size_than_labelled_is_an_error(
    run_import: Import, size: tuple[Any, Any], orientation: int, advice: str, tmp_path: Path
) -> None:
    content = document(thing(), images=[image(1, "a.jpg", height=size[0], width=size[1])])
    file = write_export(tmp_path / "labels.json", content, "a.jpg")
    file.with_name("a.jpg").write_bytes(oriented(make_photo(*SIZE), "JPEG", orientation))
    upright = (40, 60) if orientation == 1 else (60, 40)
    assert f"a.jpg is {size} in the JSON, {upright} upright; {advice}" in run_import(file, status=2)


def test_objects_on_the_stored_photo_are_told_from_those_on_the_upright_one(run_import: Import, tmp_path: Path) -> None:
    """EXIF turns the photo of 60x40 pixels to 40x60; the JSON says 40x60, and the objects lie on 60x40."""
    content = document(thing(segmentation=[40, 10, 58, 10, 58, 30, 40, 30]), images=[image(1, "a.jpg", height=60, width=40)])
    file = write_export(tmp_path / "export" / "labels.json", content, "a.jpg")
    file.with_name("a.jpg").write_bytes(oriented(make_photo(*SIZE), "JPEG", 6))
    assert "they reach from 1 to 1.4 times the width" in run_import(file, status=2)
