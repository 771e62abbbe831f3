"""What may hold an outline is never taken for a remark, and an unknown shape lies where its points say."""

from __future__ import annotations

import pytest

from training.importing.omissions import may_hold_outline, outline_keys
from training.importing.outlines import box_around

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
