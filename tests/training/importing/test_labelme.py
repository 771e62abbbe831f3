"""labelme's and X-AnyLabeling's shapes are read as these tools read them; what is not known ends the import or becomes void."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import Import
from tests.support.training.label_tools import Ids, Region, png_text, write_labelme_shapes
from training.commands.import_labels import main

SIZE = (40, 60)
VOID = 255
SQUARE = [[10, 5], [40, 5], [40, 25], [10, 25]]
CHAT = [{"role": "user", "content": "What does this photo show? " * 10, "image": None}]
LEAF = {"label": "leaf", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4], [0, 4]]}


def shape(kind: str | None, points: object = SQUARE, label: object = "stem", **others: Any) -> dict[str, Any]:
    common = {"label": label, "shape_type": kind, "group_id": None, "description": "", "flags": {}, "mask": None}
    return common | {"points": points, **others}


def box(x0: int, y0: int, x1: int, y1: int) -> Region:
    region = np.zeros(SIZE, bool)
    region[y0:y1, x0:x1] = True
    return region


def read(tmp_path: Path, name: str = "0") -> Ids:
    return np.asarray(Image.open(tmp_path / "data" / "masks" / f"{name}.png"))


def imported(tmp_path: Path, *shapes: Mapping[str, Any], options: Sequence[str] = ()) -> Ids:
    """The mask of a photo with these shapes; leaf is class 1, stem class 2."""
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF, *shapes)
    assert main([str(export), "--out", str(tmp_path / "data"), *options]) == 0
    return read(tmp_path)


def test_a_shape_without_a_type_is_a_polygon(tmp_path: Path) -> None:
    """So is a quadrilateral."""
    untyped = {"label": "stem", "points": SQUARE, "line_color": None, "fill_color": [255, 0, 0, 128]}
    third = shape("quadrilateral", [[0, 30], [9, 30], [9, 35], [0, 35]])
    second = shape(None, [[50, 5], [55, 5], [55, 25], [50, 25]])
    expected = box(10, 5, 40, 25) | box(50, 5, 55, 25) | box(0, 30, 9, 35)
    np.testing.assert_array_equal(imported(tmp_path, untyped, second, third) == 2, expected)


@pytest.mark.parametrize(
    ("kind", "points", "others"),
    [
        ("rectangle", [[40, 25], [10, 25], [10, 5], [40, 5]], {"score": 0.9, "difficult": False, "attributes": {"age": 3}}),
        ("rectangle", [[10, 25], [40, 5]], {"kie_linking": [], "direction": 0}),
        ("rotation", SQUARE, {"direction": 1.5707963, "difficult": False}),
        ("oriented_rectangle", SQUARE, {}),
    ],
)
def test_a_box_of_two_or_four_points_is_void(kind: str, points: object, others: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_array_equal(imported(tmp_path, shape(kind, points, **others)) == VOID, box(10, 5, 40, 25))


@pytest.mark.parametrize("kind", ["rotation", "rectangle"])
def test_a_turned_box_is_void_where_it_lies(kind: str, tmp_path: Path) -> None:
    mask = imported(tmp_path, shape(kind, [[30, 10], [42, 22], [36, 28], [24, 16]]))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    along, across = (columns + 0.5 - 30) + (rows + 0.5 - 10), (rows + 0.5 - 10) - (columns + 0.5 - 30)
    inside = (along > 0) & (along < 24) & (across > 0) & (across < 12)
    border = (np.minimum(np.abs(along), np.abs(along - 24)) < 1.2) | (np.minimum(np.abs(across), np.abs(across - 12)) < 1.2)
    np.testing.assert_array_equal((mask == VOID)[~border], inside[~border])


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
    np.testing.assert_array_equal(imported(tmp_path, shape("mask", points, mask=png_text(part))) == 2, expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape("mask", [[10, 5], [20, 9]], mask=png_text(np.ones((4, 5), bool))), "a PNG of 11x5 pixels, got a PNG of 5x4"),
        (shape("mask", [[10, 5], [14, 8]]), "needs a PNG in base64, got None"),
        (shape("mask", [[10, 5], [14, 8]], mask=png_text(np.ones((4, 5, 4), np.uint8))), "needs a grey PNG without"),
        (shape("rectangle", [[10, 5], [40, 5], [40, 25]]), "a rectangle needs 2 or 4 points, got 3"),
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
def test_what_is_wrong_is_told(run_import: Import, wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF, wrong)
    error = run_import(export, status=2)
    assert f"{export / '0.json'}: shape 1: " in error
    assert message in error
    assert len(error) < 2000


def test_what_is_wrong_becomes_void_where_the_user_wants_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = imported(tmp_path, shape("rectangle", SQUARE[:3]), options=["--unknown", "void"])
    np.testing.assert_array_equal(mask, np.where(box(0, 0, 4, 4), 1, VOID))
    expected = "1 shapes with errors cannot be read and are void, in {} (1: shape 1: a rectangle needs 2 or 4 points, got 3)"
    assert expected.format(tmp_path / "export" / "0.json") in capsys.readouterr().out


WHOLE = ~box(0, 0, 4, 4)


@pytest.mark.parametrize(
    ("unknown", "message", "void"),
    [
        (shape("star"), "shapes of the type 'star'", box(10, 5, 40, 25)),
        (shape("cuboid", [*SQUARE, [15, 10], [45, 10], [45, 30], [15, 30]]), "shapes of the type 'cuboid'", box(10, 5, 45, 30)),
        (shape("ellipse", [[30, 20], [30, 25.2]]), "shapes of the type 'ellipse'", WHOLE),
        (shape("star", [[30, 20]]), "shapes of the type 'star'", WHOLE),
        (shape("polygon", label=""), "shapes of the type polygon without a label", box(10, 5, 40, 25)),
        (shape("rectangle", angle=30), "shapes of the type rectangle with the key 'angle'", WHOLE),
        (shape("rectangle", direction=0.5), "shapes of the type rectangle with the key 'direction'", WHOLE),
        (shape("polygon", holes=[SQUARE]), "shapes of the type polygon with the key 'holes'", WHOLE),
        (shape("polygon", mask="iVBORw0KGgo"), "shapes of the type polygon with the key 'mask'", WHOLE),
    ],
)  # fmt: skip
def test_what_is_not_known_ends_the_import_or_becomes_void(
    run_import: Import, unknown: dict[str, Any], message: str, void: Region, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF, unknown, unknown)
    write_labelme_shapes(export, SIZE, unknown, LEAF, name="1")
    assert main([str(export), "--out", str(tmp_path / "data")]) == 2
    places = f"in {export / '0.json'} (2: shape 1, shape 2), {export / '1.json'} (1: shape 0)"
    assert f"3 {message} cannot be read, {places}: change them in the tool, or make them void" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert f"3 {message} cannot be read and are void, {places}" in run_import(export, "--unknown", "void")
    for name in "01":
        np.testing.assert_array_equal(read(tmp_path, name) == VOID, void)
        np.testing.assert_array_equal(read(tmp_path, name) == 1, box(0, 0, 4, 4))


def test_a_mask_that_leaves_its_photo_is_told_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = png_text(np.ones((4, 40), bool))
    imported(tmp_path, shape("mask", [[-30, 5], [9, 8]], mask=part))
    assert re.search(r"more than a tenth.*stem, 75%", capsys.readouterr().out)


def test_shapes_without_area_and_small_keys_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = [shape(kind, [[10, 5], [40, 5]]) for kind in ("line", "linestrip", "points")]
    mask = imported(
        tmp_path, *shapes, shape("point", [[1, 1]]), shape("polygon", color="green", hidden=False, tags=["a"], confidence=0.9)
    )
    np.testing.assert_array_equal(mask, box(0, 0, 4, 4) * 1 + box(10, 5, 40, 25) * 2)
    output = capsys.readouterr().out
    for kind in ("line", "linestrip", "points", "point"):
        assert f"1 shapes of the type {kind} are left out, since they have no area" in output
    for key in ("color", "hidden", "tags", "confidence"):
        assert f"1 shapes have the key '{key}', which is not read" in output


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_files_of_old_versions_have_the_size_in_the_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF, {"label": "stem", "points": SQUARE})
    embedded = png_text(np.zeros(SIZE, np.uint8))
    rewrite(export / "0.json", imageHeight=None, imageWidth=None, imageData=embedded, lineColor=[0, 255, 0, 128])
    assert main([str(export), "--out", str(tmp_path / "data")]) == 0
    np.testing.assert_array_equal(read(tmp_path) == 2, box(10, 5, 40, 25))
    for data, message in ((None, "needs imageHeight and imageWidth"), ("eA==", "has imageData that is no image")):
        rewrite(export / "0.json", imageData=data)
        assert main([str(export), "--out", str(tmp_path / "OTHER")]) == 2
        assert f"{export / '0.json'} {message}" in capsys.readouterr().err


def test_a_key_of_a_file_that_may_hold_shapes_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF)
    rewrite(export / "0.json", checked=True, text="a leaf", chat_history=CHAT, age=3)
    assert main([str(export), "--out", str(tmp_path / "data")]) == 0
    rewrite(export / "0.json", boxes=[{"label": "stem", "box": [1, 2, 3, 4]}])
    assert main([str(export), "--out", str(tmp_path / "OTHER")]) == 2
    assert "1 files with the key 'boxes' cannot be read" in capsys.readouterr().err


def test_all_is_told_at_once(run_import: Import, tmp_path: Path) -> None:
    """Broken files, files without shapes, unknown shapes, and photos that are missing."""
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF, shape("star"))
    for name in "1234":
        write_labelme_shapes(export, SIZE, LEAF, name=name)
    (export / "1.json").write_text("{")
    (export / "2.png").unlink()
    (export / "3.png").unlink()
    rewrite(export / "4.json", shapes=None)
    error = run_import(export, status=2)
    assert "5 errors in the data set" in error
    for message in (
        "1.json is not JSON",
        "2.png is in none of",
        "3.png is in none of",
        "'star'",
        "4.json needs a text as imagePath",
    ):
        assert message in error


def test_other_files_and_endings_in_capitals_are_told(run_import: Import, tmp_path: Path) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF)
    write_labelme_shapes(export, SIZE, LEAF, name="1")
    (export / "1.json").rename(export / "1.JSON")
    (export / "settings.json").write_text("{}")
    assert "wrote 2 frames" in (output := run_import(export))
    assert f"1 JSON files are not labelme's and are left out: {export / 'settings.json'}" in output


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_among_the_files_is_told_and_not_waited_for(run_import: Import, tmp_path: Path) -> None:
    export = write_labelme_shapes(tmp_path / "export", SIZE, LEAF)
    os.mkfifo(export / "1.json")
    assert f"{export / '1.json'} " in run_import(export, status=2)
