"""Where names stand on a class map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imaging.overlay import MOST_NAMES, Name, place_names

Pixels = npt.NDArray[np.uint8]
SAME = list(range(256))
NAMES = {1: "cat", 2: "dog", 3: "person"}


def middle(name: Name) -> tuple[float, float]:
    left, top, right, bottom = name.box
    return (left + right) / 2, (top + bottom) / 2


def paint(height: int, width: int, *boxes: tuple[int, int, int, int, int]) -> Pixels:
    """A class map of zeros with rectangles (id, left, top, right, bottom)."""
    class_map = np.zeros((height, width), np.uint8)
    for id, left, top, right, bottom in boxes:
        class_map[top:bottom, left:right] = id
    return class_map


def test_a_region_has_its_name_at_its_most_inner_point() -> None:
    # a square of 100 with a bar of 20 to the right: the mean of its pixels lies off the middle of the square
    names = place_names(paint(300, 400, (1, 50, 100, 150, 200), (1, 150, 140, 390, 160)), SAME, NAMES)
    assert [(name.id, name.text) for name in names] == [(1, "cat")]
    assert middle(names[0]) == pytest.approx((100, 150), abs=4)


def test_each_region_of_a_class_has_a_name_and_the_largest_come_first() -> None:
    class_map = paint(300, 400, (1, 20, 20, 80, 80), (2, 200, 20, 380, 180), (1, 20, 200, 140, 290), (3, 300, 250, 303, 253))
    names = place_names(class_map, SAME, NAMES)
    assert [name.id for name in names] == [2, 1, 1]  # the person of 3 pixels is thinner than a line of text
    assert [middle(name)[1] > 150 for name in names[1:]] == [True, False]


def test_a_class_without_a_name_has_none() -> None:
    assert place_names(paint(200, 200, (1, 0, 0, 100, 200), (2, 100, 0, 200, 200)), SAME, {}) == []
    names = place_names(paint(200, 200, (1, 0, 0, 100, 200), (2, 100, 0, 200, 200)), SAME, {2: "dog"})
    assert [name.id for name in names] == [2]


@pytest.mark.parametrize("text", ["猫", "Ğ", "a\nb", "", " ", "cat" * 80, "\x1b[31m"])
def test_what_cannot_be_written_is_replaced_by_the_class_id(text: str) -> None:
    names = place_names(paint(200, 300, (7, 50, 50, 250, 150)), SAME, {7: text})
    assert [name.text for name in names] == ["7"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)), st.integers(1, 60))
def test_boxes_lie_inside_and_never_overlap(small: Pixels, side: int) -> None:
    class_map = np.kron(small, np.ones((side, side), np.uint8))
    names = place_names(class_map, SAME, NAMES)
    painted_over = np.zeros(class_map.shape, np.uint8)
    for name in names:
        left, top, right, bottom = name.box
        assert 0 <= left < right <= class_map.shape[1]
        assert 0 <= top < bottom <= class_map.shape[0]
        painted_over[top:bottom, left:right] += 1
        assert name.font.getlength(name.text) < right - left
    assert painted_over.max(initial=0) <= 1
    assert names == [] or len({name.font_size for name in names}) == 1


def test_the_number_of_names_has_a_bound() -> None:
    squares = np.kron((np.indices((60, 60)).sum(0) % 2).astype(np.uint8), np.ones((64, 64), np.uint8))
    assert len(place_names(squares, SAME, {0: "a", 1: "b"})) <= MOST_NAMES


@pytest.mark.parametrize("shape", [(3000, 3000), (1, 100_000), (100_000, 2)])
def test_noise_has_no_names(shape: tuple[int, int]) -> None:
    assert place_names(np.random.default_rng(0).integers(0, 4, shape, np.uint8), SAME, NAMES) == []
