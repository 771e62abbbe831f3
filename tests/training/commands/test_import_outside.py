"""Outlines that reach outside of their photos, and photos of another size than the labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.training.coco import SIZE, Import, document, image, thing, write_export
from tests.support.training.label_tools import label_studio_result, write_label_studio_results

INSIDE = [5, 5, 15, 5, 15, 15, 5, 15]
WIDE = [40, 10, 90, 10, 90, 30, 40, 30]  # 20 of 50 columns are on the photo
FOUR_TIMES = [160, 40, 360, 40, 360, 120, 160, 120]
Write = Callable[[Path, Sequence[list[float]]], Path]
"""Writes boxes, given by their four corners, as a tool does; gives its export."""


def coco(root: Path, outlines: Sequence[list[float]]) -> Path:
    """The last one as a box."""
    left, top, right, _, _, bottom = outlines[-1][:6]
    box = thing(len(outlines) - 1, bbox=[left, top, right - left, bottom - top])
    polygons = [thing(at, segmentation=[each]) for at, each in enumerate(outlines[:-1])]
    return write_export(root / "labels.json", document(*polygons, box))


def label_studio(root: Path, outlines: Sequence[list[float]]) -> Path:
    points = [[[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in zip(each[::2], each[1::2], strict=True)] for each in outlines]
    results = [label_studio_result(SIZE, "polygonlabels", "leaf", points=each) for each in points]
    return write_label_studio_results(root, SIZE, [each | {"id": at} for at, each in enumerate(results)])


@pytest.mark.parametrize("write", [coco, label_studio])
def test_an_object_outside_of_its_photo_is_told_by_name_and_most_are_an_error(
    run_import: Import, write: Write, tmp_path: Path
) -> None:
    stdout = run_import(write(tmp_path / "export", [INSIDE, WIDE]))
    assert "1 objects lie to more than a tenth outside of their photos, and that part is left out: " in stdout
    assert ".png: the object 1 of image 1, leaf, 60%" in stdout
    stderr = run_import(write(tmp_path / "other", [INSIDE, *[FOUR_TIMES] * 2]), status=2)
    assert "2 of 3 objects lie to more than a tenth outside of their photos, such as" in stderr
    assert "from 1 to 3 times the height, so photos 6 times as wide and 3 times as high would fit; give the photos" in stderr


@pytest.mark.parametrize("size", [(120, 180), (60, 40), (0, "x")])
def test_a_photo_of_another_size_than_labelled_is_an_error(run_import: Import, size: tuple[Any, Any], tmp_path: Path) -> None:
    content = document(thing(), images=[image(1, "a.png", height=size[0], width=size[1])])
    stderr = run_import(write_export(tmp_path / "export" / "labels.json", content), status=2)
    assert f"a.png is {size} in the JSON, (40, 60) upright; give the photo that was labelled, or write" in stderr


def test_objects_on_the_stored_photo_are_told_from_those_on_the_upright_one(run_import: Import, tmp_path: Path) -> None:
    """EXIF turns the photo of 60x40 pixels to 40x60; the JSON says 40x60, and the objects lie on 60x40."""
    content = document(thing(segmentation=[40, 10, 58, 10, 58, 30, 40, 30]), images=[image(1, "a.jpg", height=60, width=40)])
    file = write_export(tmp_path / "export" / "labels.json", content, "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file.parent / "a.jpg").save(file.parent / "a.jpg", exif=exif)
    assert "they reach from 1 to 1.4 times the width" in run_import(file, status=2)
