"""What other frames could have made of a score: bootstrap intervals over frames (Efron 1979), paired for two networks.

A draw counts where it shows every class that all frames together show, so that each draw's mean is over the same classes as
the score. Frames that resemble each other, such as those of one video, make an interval too narrow, and so do classes that few
frames show.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.metrics import ious

Counts = npt.NDArray[np.int64]
"""Confusion matrices (F, n, n), one a frame; labels are rows."""
Scores = npt.NDArray[np.float64]
DRAWS = 2000
AT_ONCE = 100  # draws whose matrices are in memory together
MOST_DRAWS = 100 * DRAWS  # where fewer than DRAWS of so many show every class, there is no interval
ENDS = (2.5, 97.5)
MOST_WITHOUT = 0.025  # of all draws may lack a class; where more do, too few frames show it for an interval of its own


@dataclass(frozen=True)
class Interval:
    """A score over all frames, and the ends of what 95% of 2000 draws of as many frames, with repetition, give.

    The ends are nan where too few frames show the class, of a mean where hardly a draw shows all classes, and of a single
    frame, of which every draw is the same.
    """

    value: float
    low: float
    high: float

    @property
    def decides(self) -> bool:
        """Of a difference: whether 0 lies outside."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return "without an interval" if np.isnan(self.low) else f"{self.low:.3f} to {self.high:.3f}"

    def rounded(self) -> list[float | None]:
        """Low and high to six decimals; None for nan."""
        return [None if np.isnan(end) else round(end, 6) for end in (self.low, self.high)]


def mean_iou_interval(counts: Counts) -> Interval:
    """The mean IoU over the classes that the labels show."""
    return _intervals(_means, counts)[0]


def difference_intervals(ours: Counts, theirs: Counts) -> list[Interval]:
    """Ours less theirs on the same frames: the IoU of each class, and last the mean IoU.

    Both are drawn together: what a frame adds to the difficulty of both does not widen the interval. Raises `ValueError` where
    the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"both must be scored on the same frames and classes, got {ours.shape} and {theirs.shape}")

    def difference(pairs: Counts) -> Scores:
        mine, others = _all_scores(pairs[..., 0]), _all_scores(pairs[..., 1])
        return mine - others

    return _intervals(difference, np.stack([ours, theirs], -1))


def rare_classes(counts: Counts) -> dict[int, int]:
    """The classes that too few frames show for an interval, each with the number of frames that show it."""
    shown = (counts.sum(2) > 0).sum(0)
    without = (1 - shown / len(counts)) ** len(counts)
    return {index: int(shown[index]) for index in np.flatnonzero((shown > 0) & (without > MOST_WITHOUT)).tolist()}


def _all_scores(counts: Counts) -> Scores:
    """The classes' IoU and their mean (..., n + 1)."""
    scores = ious(counts)
    return np.concatenate([scores, _nanmean(scores)[..., None]], -1)


def _means(counts: Counts) -> Scores:
    return _nanmean(ious(counts))[..., None]


def _intervals(score: Callable[[Counts], Scores], counts: Counts) -> list[Interval]:
    """The intervals of each of the scores (..., k) that are computed from summed counts (F, n, n) or (F, n, n, 2)."""
    labels = counts[..., 0] if counts.ndim == 4 else counts
    values = score(counts.sum(0))
    draws = _draws(score, counts, (labels.sum(2) > 0).astype(np.float64))
    if draws is None:
        low = high = np.full(len(values), np.nan)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a class that no label shows
            low, high = np.nanpercentile(draws, ENDS, axis=0)
    if len(values) > 1:  # of each class
        rare = list(rare_classes(labels))
        low[rare] = high[rare] = np.nan
    return [Interval(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def _draws(score: Callable[[Counts], Scores], counts: Counts, shown: Scores) -> Scores | None:
    """The scores (2000, k) of draws that show every class; None where hardly a draw does, and of a single frame.

    shown (F, n): 1 where a frame shows a class.
    """
    frames = len(counts)
    if frames < 2:
        return None
    flat = counts.reshape(frames, -1).astype(np.float64)  # exact below 2**53, and multiplied by BLAS
    classes = shown.any(0)
    rng = np.random.default_rng(0)
    parts: list[Scores] = []
    for _ in range(0, MOST_DRAWS, AT_ONCE):
        repeats = rng.multinomial(frames, np.full(frames, 1 / frames), AT_ONCE).astype(np.float64)
        complete = repeats[((repeats @ shown > 0) | ~classes).all(1)]
        if len(complete):
            parts.append(score((complete @ flat).astype(np.int64).reshape(len(complete), *counts.shape[1:])))
        if sum(map(len, parts)) >= DRAWS:
            return np.concatenate(parts)[:DRAWS]
    return None


def _nanmean(values: Scores) -> Scores:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, -1))
