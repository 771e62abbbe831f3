"""labelme's and X-AnyLabeling's shapes are read as these tools read them; what is not known ends the import or becomes void."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training.coco import SIZE, Import, Region, box, drawn, read_masks, write_photo
from tests.support.training.label_tools import Ids, png_text, write_labelme_shapes
from training.importing.labelme import LabelmeShape, read_labelme
from training.importing.omissions import Omissions, Policy
from training.importing.outlines import ellipse_corners

VOID = 255
SQUARE = [[10, 5], [40, 5], [40, 25], [10, 25]]
LEAF = {"label": "leaf", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4], [0, 4]]}
IN_CORNER, IN_SQUARE = box(0, 0, 4, 4), box(10, 5, 40, 25)


def shape(kind: str | None, points: object = SQUARE, label: object = "stem", **others: Any) -> dict[str, Any]:
    common = {"label": label, "shape_type": kind, "group_id": None, "description": "", "flags": {}, "mask": None}
    return common | {"points": points, **others}


def read(folder: Path, policy: Policy = "error") -> tuple[list[Ids], str]:
    """The masks of an export, and what is told of it."""
    omissions = Omissions(policy)
    document = read_labelme(folder, omissions)
    assert document is not None
    return drawn(document, omissions)


def read_shapes(folder: Path, *shapes: Mapping[str, Any], policy: Policy = "error") -> tuple[Ids, str]:
    """The mask of an image with these shapes beside a leaf, and what is told; leaf is class 1, stem class 2."""
    (mask,), told = read(write_labelme_shapes(folder, LEAF, *shapes), policy)
    return mask, told


def test_a_shape_without_a_type_is_a_polygon(tmp_path: Path) -> None:
    """So is a quadrilateral."""
    untyped = {"label": "stem", "points": SQUARE, "line_color": None, "fill_color": [255, 0, 0, 128]}
    third = shape("quadrilateral", [[0, 30], [9, 30], [9, 35], [0, 35]])
    second = shape(None, [[50, 5], [55, 5], [55, 25], [50, 25]])
    expected = IN_SQUARE | box(50, 5, 55, 25) | box(0, 30, 9, 35)
    np.testing.assert_array_equal(read_shapes(tmp_path, untyped, second, third)[0] == 2, expected)


TURNED = [[30, 10], [42, 22], [36, 28], [24, 16]]


@pytest.mark.parametrize(
    ("kind", "points", "others", "expected"),
    [
        ("rectangle", [[40, 25], [10, 25], [10, 5], [40, 5]], {"score": 0.9, "difficult": False}, [10, 5, 30, 20]),
        ("rectangle", [[10, 25], [40, 5]], {"kie_linking": [], "direction": 0}, [10, 5, 30, 20]),
        ("rotation", SQUARE, {"direction": 1.5707963, "attributes": {"age": 3}}, [10, 5, 30, 20]),
        ("oriented_rectangle", SQUARE, {}, [10, 5, 30, 20]),
        ("rotation", TURNED, {}, [30, 10, 42, 22, 36, 28, 24, 16]),
        ("rectangle", TURNED, {}, [30, 10, 42, 22, 36, 28, 24, 16]),
    ],
)
def test_a_box_of_two_or_four_points_lies_where_they_say(
    kind: str, points: object, others: dict[str, Any], expected: list[float]
) -> None:
    entry = LabelmeShape(shape(kind, points, **others), "0")
    assert (entry.unknown(), entry.outline(SIZE)) == (None, {"bbox": expected})


def test_a_circle_has_a_centre_and_a_point_on_its_rim() -> None:
    circle = LabelmeShape(shape("circle", [[16, 12], [19, 16]]), "0")
    assert circle.outline(SIZE) == {"segmentation": [ellipse_corners((16, 12), (5, 5))]}


@pytest.mark.parametrize(
    ("points", "corner"),
    [
        ([[10.7, 5.9], [14.2, 8.1]], (10, 5)), ([[14.2, 8.1], [10.7, 5.9]], (10, 5)), ([[10, 5], [15, 9]], (10, 5)),
        ([[-2, 5], [2, 8]], (-2, 5)),
    ],
)  # fmt: skip
def test_a_mask_lies_where_labelme_puts_it(points: object, corner: tuple[int, int], tmp_path: Path) -> None:
    """labelme cuts off the fractions of its corners; few programs count the second corner as outside. One leaves the photo."""
    part = np.ones((4, 5), bool)
    part[0, 0] = False
    expected = box(max(0, corner[0]), corner[1], corner[0] + 5, corner[1] + 4)
    if corner[0] >= 0:
        expected[corner[1], corner[0]] = False
    np.testing.assert_array_equal(read_shapes(tmp_path, shape("mask", points, mask=png_text(part)))[0] == 2, expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape("mask", [[10, 5], [20, 9]], mask=png_text(np.ones((4, 5), bool))), "a PNG of 11x5 pixels, got a PNG of 5x4"),
        (shape("mask", [[10, 5], [14, 8]]), "needs a PNG in base64, got None"),
        (shape("mask", [[10, 5], [14, 8]], mask=png_text(np.ones((4, 5, 4), np.uint8))), "needs a grey PNG without"),
        (shape("rotation", [[10, 5], [40, 25]]), "a rotation needs 4 points, got 2"),
        (shape("rotation", [[30, 10], [36, 28], [42, 22], [24, 16]]), "the sides of its box cross"),
        (shape("circle", [[1e300, 5], [40, 5]]), "needs a number for x, got 1e+300"),
        (shape("polygon", [[1, 1], [2, 2]]), "a polygon needs three points or more, got 2"),
        (shape("polygon", [["a", 1]]), "needs a number for x, got a"),
        (shape("polygon", [["a"]]), "needs points as [[x, y], ...], got"),
        (shape("polygon", label=5), "its label must be a text"),
        (shape("polygon", label="x" * 1_000_000), "a name must have at most 200 letters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    _, told = read_shapes(tmp_path, wrong)
    assert told.startswith(f"{tmp_path / '0.json'}: shape 1: ")
    assert message in told
    assert len(told) < 1000


def test_what_is_wrong_becomes_void_where_the_user_wants_it(tmp_path: Path) -> None:
    mask, told = read_shapes(tmp_path, shape("rectangle", SQUARE[:3]), policy="void")
    np.testing.assert_array_equal(mask, np.where(IN_CORNER, 1, VOID))
    expected = "1 shapes with errors cannot be read and are void, in {} (1: shape 1: a rectangle needs 2 or 4 points, got 3)"
    assert told == expected.format(tmp_path / "0.json")


@pytest.mark.parametrize(
    ("unknown", "message", "void"),
    [
        (shape("star"), "shapes of the type 'star'", IN_SQUARE),
        (shape("cuboid", [*SQUARE, [15, 10], [45, 10], [45, 30], [15, 30]]), "shapes of the type 'cuboid'", box(10, 5, 45, 30)),
        (shape("ellipse", [[30, 20], [30, 25.2]]), "shapes of the type 'ellipse'", ~IN_CORNER),
        (shape("star", [[30, 20]]), "shapes of the type 'star'", ~IN_CORNER),
        (shape("polygon", label=""), "shapes of the type polygon without a label", IN_SQUARE),
        (shape("rectangle", angle=30), "shapes of the type rectangle with the key 'angle'", ~IN_CORNER),
        (shape("rectangle", direction=0.5), "shapes of the type rectangle with the key 'direction'", ~IN_CORNER),
        (shape("polygon", holes=[SQUARE]), "shapes of the type polygon with the key 'holes'", ~IN_CORNER),
        (shape("polygon", mask="iVBORw0KGgo"), "shapes of the type polygon with the key 'mask'", ~IN_CORNER),
    ],
)  # fmt: skip
def test_what_is_not_known_is_an_error_and_void(unknown: dict[str, Any], message: str, void: Region, tmp_path: Path) -> None:
    write_labelme_shapes(tmp_path, LEAF, unknown, unknown)
    write_labelme_shapes(tmp_path, unknown, LEAF, name="1")
    masks, told = read(tmp_path)
    places = f"in {tmp_path / '0.json'} (2: shape 1, shape 2), {tmp_path / '1.json'} (1: shape 0)"
    assert told.startswith(f"3 {message} cannot be read, {places}: change them in the tool, or make them void")
    for mask in masks:
        np.testing.assert_array_equal(mask, np.where(IN_CORNER, 1, VOID * void))


def test_unknown_shapes_end_the_import_or_become_void(run_import: Import, tmp_path: Path) -> None:
    export = write_labelme_shapes(tmp_path / "export", LEAF, shape("star"))
    assert "1 shapes of the type 'star' cannot be read, in" in run_import(export, status=2)
    assert not (tmp_path / "data").exists()
    assert "1 shapes of the type 'star' cannot be read and are void" in run_import(export, "--unknown", "void")
    np.testing.assert_array_equal(read_masks(tmp_path / "data")["0"], IN_CORNER * 1 + IN_SQUARE * VOID)


def test_a_mask_that_leaves_its_photo_is_told_by_name(run_import: Import, tmp_path: Path) -> None:
    part = png_text(np.ones((4, 40), bool))
    export = write_labelme_shapes(tmp_path / "export", LEAF, shape("mask", [[-30, 5], [9, 8]], mask=part))
    told = run_import(export)
    assert "more than a tenth outside of their photos, and that part is left out: 0.png: the object 1 of" in told
    assert "stem, 75%" in told


def test_shapes_without_area_and_small_keys_are_told(tmp_path: Path) -> None:
    shapes = [shape(kind, [[10, 5], [40, 5]]) for kind in ("line", "linestrip", "points")]
    keys: dict[str, Any] = {"color": "green", "hidden": False, "tags": ["a"], "confidence": 0.9}
    mask, told = read_shapes(tmp_path, *shapes, shape("point", [[1, 1]]), shape("polygon", **keys))
    np.testing.assert_array_equal(mask, IN_CORNER * 1 + IN_SQUARE * 2)
    for kind in ("line", "linestrip", "points", "point"):
        assert f"1 shapes of the type {kind} are left out, since they have no area" in told
    for key in keys:
        assert f"1 shapes have the key '{key}', which is not read" in told


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_files_of_old_versions_have_the_size_in_the_image(tmp_path: Path) -> None:
    file = write_labelme_shapes(tmp_path, LEAF, {"label": "stem", "points": SQUARE}) / "0.json"
    embedded = png_text(np.zeros(SIZE, np.uint8))
    rewrite(file, imageHeight=None, imageWidth=None, imageData=embedded, lineColor=[0, 255, 0, 128])
    (mask,), told = read(tmp_path)
    np.testing.assert_array_equal(mask, IN_CORNER * 1 + IN_SQUARE * 2)
    assert not told
    for data, message in ((None, "needs imageHeight and imageWidth"), ("eA==", "has imageData that is no image")):
        rewrite(file, imageData=data)
        assert read(tmp_path)[1].startswith(f"{file} {message}")


def test_a_key_of_a_file_that_may_hold_shapes_is_not_known(tmp_path: Path) -> None:
    file = write_labelme_shapes(tmp_path, LEAF) / "0.json"
    chat = [{"role": "user", "content": "What does this photo show? " * 10, "image": None}]
    rewrite(file, checked=True, text="a leaf", chat_history=chat, age=3)
    assert not read(tmp_path)[1]
    rewrite(file, boxes=[{"label": "stem", "box": [1, 2, 3, 4]}])
    assert "1 files with the key 'boxes' cannot be read" in read(tmp_path)[1]


def test_all_is_told_at_once(run_import: Import, tmp_path: Path) -> None:
    """Broken files, files without shapes, unknown shapes, photos that are missing, and pipes, which are not waited for."""
    export = write_labelme_shapes(tmp_path / "export", LEAF, shape("star"))
    for name in "1234":
        write_labelme_shapes(export, LEAF, name=name)
    (export / "1.json").write_text("{")
    (export / "2.png").unlink()
    (export / "3.png").unlink()
    rewrite(export / "4.json", shapes=None)
    os.mkfifo(export / "5.json")
    error = run_import(export, status=2)
    assert "6 errors in the data set" in error
    missing = [f"{name}.png is in none of" for name in "23"]
    for message in ("1.json is not JSON", *missing, "'star'", "4.json needs a text as imagePath", "5.json "):
        assert message in error


def test_other_files_and_photos_without_one_are_told(tmp_path: Path) -> None:
    """Also of endings in capitals; a path may be written as on Windows, and a label leave its pixels void."""
    write_labelme_shapes(tmp_path, LEAF)
    file = write_labelme_shapes(tmp_path / "day 1", LEAF | {"label": "__ignore__"}, name="1") / "1.json"
    rewrite(file, imagePath="..\\1.png")
    file.rename(file.with_suffix(".JSON"))
    (tmp_path / "settings.json").write_text("{}")
    write_photo(tmp_path / "8.png")
    omissions = Omissions()
    document = read_labelme(tmp_path, omissions)
    assert document is not None
    assert [entry["file_name"] for entry in document.images] == ["0.png", "day 1/../1.png"]
    (first, second), told = drawn(document, omissions)
    np.testing.assert_array_equal(second, first * VOID)
    unlabelled = "1 images have no JSON file and are left out; if they show background alone, save them in labelme"
    assert f"{unlabelled}: {tmp_path / '8.png'}" in told
    assert f"1 JSON files are not labelme's and are left out: {tmp_path / 'settings.json'}" in told
