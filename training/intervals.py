"""What other frames could have made of a score: bootstrap intervals over frames (Efron 1979), paired for two networks.

Frames that resemble each other, such as those of one video, make an interval too narrow.
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
AT_ONCE = 100  # draws whose matrices are held together
ENDS = (2.5, 97.5)
MOST_WITHOUT = 0.025  # of the draws may lack a class; where more do, too few frames show it for an interval


@dataclass(frozen=True)
class Interval:
    """A score over all frames, and the ends of what 95% of 2000 draws of as many frames, with repetition, give.

    The ends are nan where too few frames show the class.
    """

    value: float
    low: float
    high: float

    @property
    def decides(self) -> bool:
        """Of a difference: whether 0 lies outside."""
        return self.low > 0 or self.high < 0

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


def _all_scores(counts: Counts) -> Scores:
    """The classes' IoU and their mean (..., n + 1)."""
    found = ious(counts)
    return np.concatenate([found, _nanmean(found)[..., None]], -1)


def _means(counts: Counts) -> Scores:
    return _nanmean(ious(counts))[..., None]


def _intervals(score: Callable[[Counts], Scores], counts: Counts) -> list[Interval]:
    """The intervals of each of the scores (..., k) that are made of summed counts."""
    frames = len(counts)
    flat = counts.reshape(frames, -1).astype(np.float64)  # exact below 2**53, and multiplied by BLAS
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(0, DRAWS, AT_ONCE):
        taken = rng.multinomial(frames, np.full(frames, 1 / frames), AT_ONCE).astype(np.float64)
        drawn.append(score((taken @ flat).astype(np.int64).reshape(AT_ONCE, *counts.shape[1:])))
    values = score(counts.sum(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no label shows
        draws = np.concatenate(drawn)
        low, high = np.nanpercentile(draws, ENDS, axis=0)
    rare = np.isnan(draws).mean(0) > MOST_WITHOUT
    low[rare] = high[rare] = np.nan
    return [Interval(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def _nanmean(values: Scores) -> Scores:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, -1))
