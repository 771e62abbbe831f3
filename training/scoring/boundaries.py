"""Boundary IoU (Cheng et al. 2021, "Boundary IoU", section 4): the IoU of the pixels near each class's border alone.

As in the paper's published evaluation, the image's own edge is a border of what touches it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.metrics import ConfusionMatrix
from training.learning.losses import without_border

ClassMap = npt.NDArray[np.uint8]
FRACTION = 0.02  # of the image's diagonal: how far from a border counts, as in the paper
VOID = 255
OUTSIDE = -1  # no class's id


class BoundaryIoU:
    """Gathers class maps of frames. Labels of the classes and above are void, which counts in neither map."""

    def __init__(self, num_classes: int, fraction: float = FRACTION) -> None:
        self.fraction = fraction
        self._matrix = ConfusionMatrix(num_classes + 1)

    def update(self, labels: ClassMap, predictions: ClassMap) -> None:
        """Adds two class maps of one shape."""
        inner = len(self._matrix.counts) - 1
        distance = max(1, round(self.fraction * float(np.hypot(*labels.shape))))
        truth = np.where(labels < inner, labels, VOID).astype(np.uint8)
        found = np.where(truth == VOID, VOID, predictions).astype(np.uint8)
        near, near_found = (near_borders(ids, distance, inner) for ids in (truth, found))
        self._matrix.update(np.where(truth == VOID, VOID, near).astype(np.uint8), near_found)

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Of each class; nan for those that the labels do not show near a border."""
        return self._matrix.iou[:-1]

    @property
    def mean_iou(self) -> float:
        return float(np.nanmean(self.iou)) if np.isfinite(self.iou).any() else float("nan")


def near_borders(ids: ClassMap, distance: int, inner: int) -> ClassMap:
    """Class ids (H, W) in which pixels farther than `distance` from another id and from the image's edge become `inner`.

    Distances are counted in rows or columns, whichever are more; the edge lies a pixel outside the image.
    """
    framed = F.pad(torch.from_numpy(ids.astype(np.int64))[None], (1, 1, 1, 1), value=OUTSIDE)
    marked = without_border(framed, VOID, distance + 1)[0, 1:-1, 1:-1].numpy()
    return np.where(marked == VOID, ids, inner).astype(np.uint8)
