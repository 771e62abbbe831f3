"""Scores of semantic segmentation from a confusion matrix (Long et al. 2015, section 5)."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt


class ConfusionMatrix:
    """Counts pixels by label (rows) and prediction (columns). Pixels with labels outside 0 to n-1 are ignored.

    A class that no label shows has the IoU nan and is left out of means, even if it was predicted. So means of two networks
    on the same frames are over the same classes. Other programs count such a class as 0: `mean_iou_with_predicted` does.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    @classmethod
    def of_frames(cls, counts: npt.NDArray[np.int64]) -> ConfusionMatrix:
        """The sum of the counts (F, n, n) of several frames."""
        matrix = cls(counts.shape[-1])
        matrix.counts = counts.sum(0)
        return matrix

    def update(self, labels: npt.NDArray[np.uint8], predictions: npt.NDArray[np.uint8]) -> None:
        """Adds two class maps of one shape; raises `ValueError` if shapes differ or a predicted id is not below n."""
        if labels.shape != predictions.shape:
            raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must have one shape")
        n = len(self.counts)
        valid = labels < n
        pairs = labels[valid].astype(np.int64) * n + predictions[valid]
        if predictions[valid].max(initial=0) >= n:
            raise ValueError(f"predictions must be below {n}, got {predictions[valid].max()}")
        self.counts += np.bincount(pairs, minlength=n * n).reshape(n, n)

    @property
    def pixel_accuracy(self) -> float:
        return float(_ratio(np.diag(self.counts).sum(), self.counts.sum()))

    @property
    def class_accuracy(self) -> npt.NDArray[np.float64]:
        return _ratio(np.diag(self.counts), self.counts.sum(1))

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each class that the labels show."""
        return ious(self.counts)

    @property
    def mean_accuracy(self) -> float:
        return _mean(self.class_accuracy)

    @property
    def mean_iou(self) -> float:
        return _mean(self.iou)

    @property
    def predicted_only(self) -> dict[int, int]:
        """The classes that were predicted and that no label shows, each with the number of labelled pixels predicted so."""
        labels, predictions = self.counts.sum(1), self.counts.sum(0)
        return {int(class_id): int(predictions[class_id]) for class_id in np.flatnonzero((labels == 0) & (predictions > 0))}

    @property
    def mean_iou_with_predicted(self) -> float:
        """The mean IoU over the classes that labels or predictions show; one of `predicted_only` counts as 0."""
        return _mean(np.append(self.iou, np.zeros(len(self.predicted_only))))

    @property
    def frequency_weighted_iou(self) -> float:
        frequency = self.counts.sum(1)
        has_pixels = frequency > 0
        return (
            float((frequency[has_pixels] * self.iou[has_pixels]).sum() / frequency.sum()) if has_pixels.any() else float("nan")
        )

    def scores(self) -> dict[str, object]:
        """The scores as a weights file stores them, rounded to six decimals; nan becomes None."""
        return {
            "pixel_accuracy": _rounded(self.pixel_accuracy),
            "mean_accuracy": _rounded(self.mean_accuracy),
            "mean_iou": _rounded(self.mean_iou),
            "mean_iou_with_predicted": _rounded(self.mean_iou_with_predicted),
            "frequency_weighted_iou": _rounded(self.frequency_weighted_iou),
            "iou": [_rounded(value) for value in self.iou],
        }


def ious(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Intersection over union (..., n) of confusion matrices (..., n, n); nan for classes that the labels do not show."""
    hits, labels = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    union = labels + counts.sum(-2) - hits
    return _ratio(hits, np.where(labels > 0, union, 0))


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """part / whole, element by element; nan where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _mean(values: npt.NDArray[np.float64]) -> float:
    """The mean of the values that are not nan; nan if all are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
