"""Boundary IoU: borders alone count, void does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from training.boundaries import BoundaryIoU, near_borders


def halves(column: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """Class 1 from this column on, else 0."""
    return np.broadcast_to(np.arange(width) >= column, (height, width)).astype(np.uint8)


def test_near_a_border_is_what_has_another_class_within_the_distance() -> None:
    found = near_borders(halves(30), 3, 9)
    assert (found[:, 27:30] == 0).all()
    assert (found[:, 30:33] == 1).all()
    assert (np.delete(found, np.s_[27:33], 1) == 9).all()


def test_equal_maps_have_one_also_beside_void() -> None:
    labels = halves(30)
    labels[10:20, 28:34] = 255
    boundaries = BoundaryIoU(2)
    boundaries.update(labels, halves(30))
    assert boundaries.iou.tolist() == [1.0, 1.0]
    assert boundaries.mean_iou == 1.0


def test_a_border_that_is_off_costs_more_than_of_the_whole() -> None:
    boundaries = BoundaryIoU(2, fraction=4 / np.hypot(40, 60))
    boundaries.update(halves(30), halves(31))
    # bands of 4 columns that lie one apart have 3 of 5 in common
    assert boundaries.iou == pytest.approx([3 / 5, 3 / 5])


def test_a_class_that_the_labels_do_not_show_counts_in_no_mean() -> None:
    boundaries = BoundaryIoU(3)
    found = halves(30)
    found[:, :5] = 2
    boundaries.update(halves(30), found)
    assert boundaries.iou[:2].tolist() == [0.5, 1.0]  # class 0 has another border, where it should have none
    assert np.isnan(boundaries.iou[2])
    assert boundaries.mean_iou == 0.75


def test_without_a_border_there_is_no_score() -> None:
    boundaries = BoundaryIoU(2)
    boundaries.update(halves(0), halves(0))
    assert np.isnan(boundaries.mean_iou)
