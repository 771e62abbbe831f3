"""What importers leave out is counted by kind, file and place; what may hold an outline is never taken for a remark."""

from __future__ import annotations

import pytest

from training.importing.omissions import Omissions, may_hold_outline, outline_keys, void_object
from training.importing.outlines import box_around


def test_each_kind_is_one_error_with_its_number_files_and_places() -> None:
    omissions = Omissions()
    for file, place in (("a.json", "shape 1"), ("a.json", "shape 4"), ("b.json", "shape 0")):
        omissions.add_unknown("shapes of the type 'star'", file, place)
    omissions.add_unknown("shapes without a label", "b.json", "shape 2")
    assert [str(error) for error in omissions.errors()] == [
        "3 shapes of the type 'star' cannot be read, in a.json (2: shape 1, shape 4), b.json (1: shape 0): change them in the "
        "tool, or make them void with --unknown void",
        "1 shapes without a label cannot be read, in b.json (1: shape 2): change them in the tool, or make them void with "
        "--unknown void",
    ]
    assert omissions.notes() == []


def test_with_void_they_are_notes() -> None:
    omissions = Omissions("void")
    omissions.add_unknown("objects", "a.json", "shape 1")
    omissions.tell("images have no objects", names=["a.png"])
    omissions.tell("objects are void", 3)
    omissions.tell("objects are small", 0)
    omissions.tell("images have no objects", names=["b.png"])
    assert omissions.errors() == []
    assert omissions.notes() == [
        "2 images have no objects: a.png, b.png",
        "3 objects are void",
        "1 objects cannot be read and are void, in a.json (1: shape 1)",
    ]


NOT = (None, True, False, "", "green", [], {}, [None, "a"], {"a": {"b": ["c", False]}})
OUTLINES = (0, 0.5, "30", "1e3", " 7 ", "x" * 101, [1], ["a", 2], {"a": {"b": [3]}}, [{"x": 1}], {"counts": "x"})


def test_numbers_run_lengths_and_long_texts_may_be_an_outline() -> None:
    assert not [value for value in NOT if may_hold_outline(value)]
    assert not [value for value in OUTLINES if not may_hold_outline(value)]


def test_an_outline_in_coco_s_form_has_four_numbers_or_is_turned() -> None:
    numbers = {"score": 0.5, "rotation": 30, "Angle": 0.5, "theta": 0, "id": 3, "rbox": [1, 2, 3, 4]}
    keys = numbers | {"path": "M 1 2 " * 20, "tag": "x"}
    assert outline_keys(keys, 4) == ["rotation", "Angle", "rbox", "path"]
    assert outline_keys(keys) == ["score", "rotation", "Angle", "theta", "rbox", "path"]


@pytest.mark.parametrize(
    ("points", "edges"),
    [
        ([], (0, 0, 60, 40)), ([(30, 20), (33, 24)], (0, 0, 60, 40)), ([(50, 30), (90, 30), (90, 90)], (50, 30, 60, 40)),
        ([(10.5, 5.5), (20.5, 5.5), (20.5, 9.5)], (10, 5, 21, 10)), ([(-30, -20), (-10, -20), (-10, -10)], (0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_where_an_unknown_shape_lies(points: list[tuple[float, float]], edges: tuple[int, int, int, int]) -> None:
    """Fewer than three points say nothing; of others, the box around them."""
    x0, y0, x1, y1 = edges
    assert box_around(points, (40, 60)) == [x0, y0, x1, y0, x1, y1, x0, y1]


def test_a_void_object_keeps_the_outline_that_is_known() -> None:
    entry = {"id": "r", "image_id": "1"}
    void = entry | {"category_id": "__ignore__"}
    for place in ({"bbox": [1, 2, 3, 4]}, {"segmentation": {"counts": "x"}}):
        assert void_object(entry, (40, 60), place) == void | place
    assert void_object(entry, (40, 60), []) == void | {"segmentation": [[0, 0, 60, 0, 60, 40, 0, 40]]}
