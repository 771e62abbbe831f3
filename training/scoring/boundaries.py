"""Boundary IoU (Cheng et al. 2021, "Boundary IoU", section 4): the IoU over the pixels near each class's border.

As in the paper's published evaluation code, the edge of the image is a border too.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.arrays import Floats, Ids, Integers, Mask
from imaging.classes import VOID
from training.scoring.metrics import confusion, ious, nanmean

FRACTION = 0.02  # pixels closer to a border than this fraction of the image's diagonal count, as in the paper
OUTSIDE, NO_ID = -1, -2  # id of the frame around the image, and one of no pixel


class BoundaryIoU:
    """Accumulates class maps of frames. Pixels whose label is no class are void and count in neither map."""

    def __init__(self, num_classes: int, fraction: float = FRACTION) -> None:
        self.fraction = fraction
        self._counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)

    def update(self, labels: Ids, predictions: Ids) -> None:
        """Adds the labels and predictions (H, W) of one frame."""
        inner = len(self._counts) - 1
        distance = max(1, round(self.fraction * float(np.hypot(*labels.shape))))
        truth = np.where(labels < inner, labels, VOID).astype(np.uint8)
        predictions = np.where(truth == VOID, VOID, predictions).astype(np.uint8)
        near_truth, near_predictions = (near_borders(ids, distance, inner) for ids in (truth, predictions))
        self._counts += confusion(np.where(truth == VOID, VOID, near_truth).astype(np.uint8), near_predictions, inner + 1)

    @property
    def iou(self) -> Floats:
        """The boundary IoU of each class; nan for a class that the labels do not show near a border."""
        return ious(self._counts)[:-1]

    @property
    def mean_iou(self) -> float:
        return float(nanmean(self.iou))


def near_borders(ids: Ids, distance: int, inner: int) -> Ids:
    """Class ids (H, W) in which pixels farther than `distance` from any other id and from the image's edge become `inner`.

    A distance is the larger of the distances in rows and in columns. The edge lies one pixel outside the image.
    """
    near = near_border(np.pad(ids.astype(np.int64), 1, constant_values=OUTSIDE), distance + 1)[1:-1, 1:-1]
    return np.where(near, ids, inner).astype(np.uint8)


def near_border(ids: Integers, width: int) -> Mask:
    """Which pixels (H, W) are closer than `width` to another id. No id is -2."""
    return np.asarray(without_border(torch.from_numpy(ids)[None], NO_ID, width)[0].numpy() == NO_ID)


def without_border(masks: Tensor, ignore_index: int, width: int) -> Tensor:
    """Masks (N, H, W) whose pixels near a border become void: those closer than `width` to another id, or to void."""
    ids = masks[:, None].float()
    side, padding = 2 * width - 1, width - 1
    # the maximum over rows, then over columns, equals that over the square and is much faster
    rows = (F.max_pool2d(sign * ids, (1, side), 1, (0, padding)) for sign in (1, -1))
    largest, smallest = (F.max_pool2d(row_maximum, (side, 1), 1, (padding, 0)) for row_maximum in rows)
    return masks.masked_fill((largest != -smallest)[:, 0], ignore_index)
