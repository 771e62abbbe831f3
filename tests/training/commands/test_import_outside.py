"""Outlines that reach outside of their photos: told by name; an error, with what would fit, where most of a set do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import SIZE, Import, document, image, thing, write_export
from tests.support.training.label_tools import (
    label_studio_result,
    png_text,
    write_label_studio_results,
    write_labelme_shapes,
)
from training.commands.import_labels import main

INSIDE = [5, 5, 15, 5, 15, 15, 5, 15]
WIDE = [40, 10, 90, 10, 90, 30, 40, 30]  # 20 of 50 columns are on the photo
FOUR_TIMES = [160, 40, 360, 40, 360, 120, 160, 120]
Write = Callable[[Path, Sequence[list[float]]], Path]
"""Writes boxes, given by their four corners, as a tool does; gives its export."""


def run(tmp_path: Path, *things: dict[str, Any], **parts: Any) -> int:
    file = write_export(tmp_path / "export" / "labels.json", document(*things, **parts))
    return main([str(file), "--out", str(tmp_path / "data")])


def pairs(corners: list[float], size: tuple[int, int] = (100, 100)) -> list[list[float]]:
    """The corners as points; with a size, in percent of it."""
    return [[100 * x / size[1], 100 * y / size[0]] for x, y in zip(corners[::2], corners[1::2], strict=True)]


def coco(root: Path, outlines: Sequence[list[float]]) -> Path:
    return write_export(root / "labels.json", document(*(thing(at, segmentation=[each]) for at, each in enumerate(outlines))))


def coco_boxes(root: Path, outlines: Sequence[list[float]]) -> Path:
    """The last one as a box."""
    left, top, right, _, _, bottom = outlines[-1][:6]
    box = thing(len(outlines) - 1, bbox=[left, top, right - left, bottom - top])
    polygons = [thing(at, segmentation=[each]) for at, each in enumerate(outlines[:-1])]
    return write_export(root / "labels.json", document(*polygons, box))


def labelme(root: Path, outlines: Sequence[list[float]]) -> Path:
    shapes = [{"label": "leaf", "shape_type": "polygon", "points": pairs(each)} for each in outlines]
    return write_labelme_shapes(root, SIZE, *shapes)


def labelme_masks(root: Path, outlines: Sequence[list[float]]) -> Path:
    shapes: list[dict[str, Any]] = []
    for left, top, right, _, _, bottom, *_ in (map(int, each) for each in outlines):
        mask = png_text(np.ones((bottom - top, right - left), bool))
        points = [[left, top], [right - 1, bottom - 1]]
        shapes.append({"label": "leaf", "shape_type": "mask", "points": points, "mask": mask})
    return write_labelme_shapes(root, SIZE, *shapes)


def label_studio(root: Path, outlines: Sequence[list[float]]) -> Path:
    results = [label_studio_result(SIZE, "polygonlabels", "leaf", points=pairs(each, SIZE)) for each in outlines]
    return write_label_studio_results(root, SIZE, [each | {"id": at} for at, each in enumerate(results)])


def label_studio_shapes(root: Path, outlines: Sequence[list[float]]) -> Path:
    """Rectangles, and the last one as the ellipse in it."""
    results = []
    for (left, top), _, (right, bottom), _ in (pairs(each, SIZE) for each in outlines):
        width, height = right - left, bottom - top
        results.append(label_studio_result(SIZE, "rectanglelabels", "leaf", x=left, y=top, width=width, height=height))
    place = {"x": left + width / 2, "y": top + height / 2, "radiusX": width / 2, "radiusY": height / 2}
    results[-1] = label_studio_result(SIZE, "ellipselabels", "leaf", **place)
    return write_label_studio_results(root, SIZE, [each | {"id": at} for at, each in enumerate(results)])


WRITERS: dict[Write, str] = {
    coco: "a.png: the object 1 of image 1, leaf, 60%", coco_boxes: "a.png: the object 1 of image 1, leaf, 60%",
    labelme: "0.png: the object shape 1 of image 0.json, leaf, 60%",
    labelme_masks: "0.png: the object shape 1 of image 0.json, leaf, 60%",
    label_studio: "0.png: the object 1 of image 1, leaf, 60%", label_studio_shapes: "0.png: the object 1 of image 1, leaf, 63%",
}  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_an_importer_tells_an_object_outside_of_its_photo_by_name(run_import: Import, write: Write, tmp_path: Path) -> None:
    stdout = run_import(write(tmp_path / "export", [INSIDE, WIDE]))
    assert f"1 objects lie to more than a tenth outside of their photos, and that part is left out: {WRITERS[write]}" in stdout


@pytest.mark.parametrize("write", WRITERS)
def test_an_importer_of_labels_for_larger_photos_ends_with_the_factor(run_import: Import, write: Write, tmp_path: Path) -> None:
    stderr = run_import(write(tmp_path / "export", [INSIDE, *[FOUR_TIMES] * 2]), status=2)
    assert "2 of 3 objects lie to more than a tenth outside of their photos, such as" in stderr
    assert "they fit photos 6 times as wide and 3 times as high: give the photos that were labelled" in stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("size", "hint"),
    [
        ((120, 180), "the labels fit a photo 3 times larger"),
        ((20, 30), "the labels fit a photo 2 times smaller"),
        ((50, 150), "the labels fit a photo 2.5 times as wide and 1.2 times as high"),
        ((60, 40), "was it turned after it was labelled?"),
        ((0, "x"), "write the height and width"),
    ],
)
def test_a_photo_of_another_size_than_labelled_is_an_error_with_the_factor(
    size: tuple[Any, Any], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, thing(), images=[image(1, "a.png", height=size[0], width=size[1])]) == 2
    assert hint in capsys.readouterr().err


def test_objects_on_the_stored_photo_are_told_from_those_on_the_upright_one(run_import: Import, tmp_path: Path) -> None:
    """EXIF turns the photo of 60x40 pixels to 40x60; the JSON says 40x60, and the objects lie on 60x40."""
    content = document(thing(segmentation=[40, 10, 58, 10, 58, 30, 40, 30]), images=[image(1, "a.jpg", height=60, width=40)])
    file = write_export(tmp_path / "export" / "labels.json", content, "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(file.parent / "a.jpg").save(file.parent / "a.jpg", exif=exif)
    assert "width and height are swapped" in run_import(file, status=2)
