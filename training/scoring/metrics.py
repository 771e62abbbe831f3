"""Scores of semantic segmentation from a confusion matrix (Long et al. 2015, section 5)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.arrays import Floats, Ids

Counts = npt.NDArray[np.int64]
"""Confusion matrices (..., n, n): pixels by label (rows) and prediction.

(..., n + 1, n) has one row more: pixels that show none of the classes that their frame's set labels. A labelled class that is
predicted there is an error of that class. The last column is then of predictions of other classes; it has no score.
"""


def confusion(labels: Ids, predictions: Ids, classes: int, rows: int = 0) -> Counts:
    """The counts (n, n) of two class maps of one shape. Pixels with labels outside the rows are ignored.

    classes: n. rows: of the counts, if not n. Raises `ValueError` if shapes differ or a predicted id is not below n.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must have one shape")
    rows = rows or classes
    valid = labels < rows
    pairs = labels[valid].astype(np.int64) * classes + predictions[valid]
    if predictions[valid].max(initial=0) >= classes:
        raise ValueError(f"predictions must be below {classes}, got {predictions[valid].max()}")
    return np.bincount(pairs, minlength=rows * classes).reshape(rows, classes).astype(np.int64)


def label_pixels(counts: Counts) -> Counts:
    """The pixels (..., n) that are labelled with each class, of confusion matrices."""
    return np.asarray(counts.sum(-1)[..., : counts.shape[-1]])


@dataclass(frozen=True)
class ConfusionMatrix:
    """The scores of counts (n, n).

    A class that no label shows has the IoU nan and is left out of means, even if it was predicted. So means of two networks
    on the same frames are over the same classes. Other programs count such a class as 0: `mean_iou_with_predicted` does.
    """

    counts: Counts

    @property
    def pixel_accuracy(self) -> float:
        return float(_ratio(np.diag(self.counts).sum(), label_pixels(self.counts).sum()))

    @property
    def class_accuracy(self) -> Floats:
        return _ratio(np.diag(self.counts), label_pixels(self.counts))

    @property
    def iou(self) -> Floats:
        """Intersection over union of each class that the labels show."""
        return ious(self.counts)

    @property
    def mean_accuracy(self) -> float:
        return float(nanmean(self.class_accuracy))

    @property
    def mean_iou(self) -> float:
        return float(nanmean(self.iou))

    @property
    def predicted_only(self) -> dict[int, int]:
        """The classes that were predicted and that no label shows, each with the number of labelled pixels predicted so."""
        labels, predictions = label_pixels(self.counts), self.counts.sum(0)
        if len(self.counts) > len(labels):
            predictions[-1] = 0
        return {int(class_id): int(predictions[class_id]) for class_id in np.flatnonzero((labels == 0) & (predictions > 0))}

    @property
    def mean_iou_with_predicted(self) -> float:
        """The mean IoU over the classes that labels or predictions show; one of `predicted_only` counts as 0."""
        return float(nanmean(np.append(self.iou, np.zeros(len(self.predicted_only)))))

    @property
    def frequency_weighted_iou(self) -> float:
        frequency = label_pixels(self.counts)
        return float(_ratio(np.nansum(frequency * self.iou), frequency.sum()))

    def scores(self) -> dict[str, object]:
        """The scores as a weights file stores them, rounded to six decimals; nan becomes None."""
        return {
            "pixel_accuracy": rounded(self.pixel_accuracy),
            "mean_accuracy": rounded(self.mean_accuracy),
            "mean_iou": rounded(self.mean_iou),
            "mean_iou_with_predicted": rounded(self.mean_iou_with_predicted),
            "frequency_weighted_iou": rounded(self.frequency_weighted_iou),
            "iou": [rounded(value) for value in self.iou],
        }


def ious(counts: Counts) -> Floats:
    """Intersection over union (..., n) of confusion matrices (..., n, n); nan for classes that the labels do not show."""
    hits, labels = np.diagonal(counts, axis1=-2, axis2=-1), label_pixels(counts)
    union = labels + counts.sum(-2) - hits
    return _ratio(hits, np.where(labels > 0, union, 0))


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """part / whole, element by element; nan where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def nanmean(values: Floats) -> Floats:
    """The mean over the last axis of the values that are not nan; nan if all are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, -1))


def rounded(value: float) -> float | None:
    """A number as a weights file stores it, with six decimals; None for nan."""
    return None if np.isnan(value) else round(float(value), 6)
