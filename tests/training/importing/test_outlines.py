"""Turned boxes and ellipses, and parts of a mask lie where geometry says."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from training.importing.outlines import box_corners, box_of_corners, ellipse_corners, encode_mask


@pytest.mark.parametrize(
    ("turn", "corner"), [(0, (30, 10)), (90, (10, 30)), (180, (-10, 10)), (-90, (10, -10)), (450, (10, 30))]
)
def test_right_angles_are_exact(turn: float, corner: tuple[float, float]) -> None:
    corners = box_corners((10, 10, 20, 5), turn, about=(10, 10))
    assert tuple(corners[:2]) == (10, 10)
    assert tuple(corners[2:4]) == corner


def test_a_box_turns_clockwise_as_y_points_down() -> None:
    np.testing.assert_allclose(box_corners((0, 0, 2, 2), 45, about=(0, 0))[2:4], [2**0.5, 2**0.5])
    np.testing.assert_allclose(box_corners((0, 0, 2, 2), 45, about=(1, 1))[:2], [1, 1 - 2**0.5])


@pytest.mark.parametrize(("radii", "least"), [((1, 1), 64), ((1000, 500), 720), ((1e300, 1), 720)])
def test_an_ellipse_has_enough_corners_and_not_too_many(radii: tuple[float, float], least: int) -> None:
    assert len(ellipse_corners((0, 0), radii)) == 2 * least


def test_points_of_an_ellipse_lie_on_it() -> None:
    points = np.array(ellipse_corners((5, 7), (4, 2), 30)).reshape(-1, 2) - (5, 7)
    along = points @ (np.cos(np.pi / 6), np.sin(np.pi / 6))
    across = points @ (-np.sin(np.pi / 6), np.cos(np.pi / 6))
    np.testing.assert_allclose((along / 4) ** 2 + (across / 2) ** 2, 1)


def test_corners_in_any_order_are_a_box_and_turned_ones_are_kept() -> None:
    assert box_of_corners([(9, 2), (1, 8)]) == [1, 2, 8, 6]
    assert box_of_corners([(1, 2), (9, 8), (9, 2), (1, 8)]) == [1, 2, 8, 6]
    assert box_of_corners([(3, 0), (6, 3), (3, 6), (0, 3)]) == [3, 0, 6, 3, 3, 6, 0, 3]
    with pytest.raises(ValueError, match="the sides of its box cross"):
        box_of_corners([(3, 0), (3.5, 6), (6, 3), (0, 3.5)])


@pytest.mark.parametrize("corner", [(0, 0), (3, 2), (-2, -1), (7, 6), (20, 2), (-9, 0)])
def test_a_part_of_a_mask_is_encoded_as_the_whole(corner: tuple[int, int]) -> None:
    part = np.random.default_rng(0).random((5, 6)) < 0.6
    whole = np.zeros((40, 40), bool)
    left, top = corner[0] + 10, corner[1] + 10
    whole[top : top + 5, left : left + 6] = part
    expected = whole[10:19, 10:22]
    decoded = run_lengths.decode(encode_mask(part, (9, 12), corner=(corner[1], corner[0])))
    np.testing.assert_array_equal(decoded.astype(bool), expected)
    np.testing.assert_array_equal(run_lengths.decode(encode_mask(expected, (9, 12))).astype(bool), expected)
