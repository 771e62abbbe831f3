"""Working sizes, and how they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.inference.scaling import Side, parse_side, working_size


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((300, 400), "native", (300, 400)),
        ((300, 400), "auto", (300, 400)),
        ((64, 128), "auto", (128, 256)),
        ((1500, 2048), "auto", (375, 512)),
        ((1, 5000), "auto", (1, 512)),
        ((300, 400), 200, (150, 200)),
        ((3, 1000), 32, (1, 32)),
    ],
    ids=str,
)
def test_the_working_size_follows_the_side_asked_for(size: tuple[int, int], side: Side, expected: tuple[int, int]) -> None:
    assert working_size(size, side, (256, 512)) == expected


@settings(deadline=None)
@given(st.tuples(st.integers(1, 9000), st.integers(1, 9000)))
def test_auto_keeps_the_longer_side_in_range_and_the_proportions(size: tuple[int, int]) -> None:
    height, width = working_size(size, "auto", (256, 512))
    assert 256 <= max(height, width) <= 512
    factor = max(height, width) / max(size)
    assert height == pytest.approx(size[0] * factor, abs=0.51) or height == 1
    assert width == pytest.approx(size[1] * factor, abs=0.51) or width == 1


@pytest.mark.parametrize(("text", "side"), [("auto", "auto"), ("native", "native"), ("32", 32), ("16384", 16384)])
def test_sides_are_written_as_words_or_numbers(text: str, side: Side) -> None:
    assert parse_side(text) == side


@pytest.mark.parametrize("text", ["", "many", "31", "16385", "-64", "64.0", "\N{SUPERSCRIPT TWO}"])
def test_other_writings_of_a_side_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"side must .*got '{text}'"):
        parse_side(text)
