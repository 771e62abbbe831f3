"""Boundary IoU: borders alone count, void does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from training.scoring.boundaries import BoundaryIoU, without_border


def halves(column: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """Class 1 from this column on, else 0."""
    return np.broadcast_to(np.arange(width) >= column, (height, width)).astype(np.uint8)


def published_iou(labels: npt.NDArray[np.uint8], predictions: npt.NDArray[np.uint8], item: int, distance: int) -> float:
    """The paper's: of each mask the band that erosion takes, and the bands' intersection over union."""
    masks = [ids == item for ids in (labels, predictions)]
    mine, theirs = (mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), distance) for mask in masks)
    return float((mine & theirs).sum() / (mine | theirs).sum())


@pytest.mark.parametrize(("fraction", "seed"), [(0.01, 0), (0.05, 1), (0.2, 2)])
def test_it_is_the_published_one(fraction: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (2, 5, 7), dtype=np.uint8)
    labels, predictions = (np.kron(each, np.ones((8, 9), np.uint8)) for each in coarse)
    boundaries = BoundaryIoU(3, fraction)
    boundaries.update(labels, predictions)
    distance = max(1, round(fraction * float(np.hypot(*labels.shape))))
    expected = [published_iou(labels, predictions, item, distance) for item in range(3)]
    assert boundaries.iou == pytest.approx(expected)


def test_equal_maps_have_one_also_beside_void() -> None:
    labels = halves(30)
    labels[10:20, 28:34] = 255
    boundaries = BoundaryIoU(2)
    boundaries.update(labels, halves(30))
    assert boundaries.iou.tolist() == [1.0, 1.0]
    assert boundaries.mean_iou == 1.0


def test_a_class_that_the_labels_do_not_show_counts_in_no_mean() -> None:
    boundaries = BoundaryIoU(3)
    predictions = halves(30)
    predictions[:, :5] = 2
    boundaries.update(halves(30), predictions)
    assert np.isnan(boundaries.iou[2])
    assert boundaries.iou[1] == 1.0
    assert boundaries.mean_iou == pytest.approx((boundaries.iou[0] + 1) / 2)


def test_pixels_near_another_class_lose_their_label() -> None:
    line = torch.tensor([1, 1, 1, 1, 1, 2, 2, 2, 255, 2, 2])
    mask = line.repeat(2, 4, 1)
    masks = {width: without_border(mask, 255, width) for width in (1, 2, 3)}
    assert torch.equal(masks[1], mask)
    assert masks[2][1, 0].tolist() == [1, 1, 1, 1, 255, 255, 2, 255, 255, 255, 2]
    assert masks[3][1, 0].tolist() == [1, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255]
    assert torch.equal(masks[2].mT, without_border(mask.mT, 255, 2))
    assert torch.equal(mask, line.repeat(2, 4, 1))
