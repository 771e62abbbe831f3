"""Bootstrap intervals of scores over frames (Efron 1979), paired for the difference of two networks; in words, too.

A draw counts only if it shows every class that the frames show. So its mean IoU is over the same classes as the
score. Intervals are too narrow if frames resemble each other, such as those of one video, or if few frames show a class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.arrays import Floats
from training.data.problems import counted
from training.scoring.metrics import ConfusionMatrix, Counts, ious, label_pixels, nanmean, rounded

DRAWS = 2000
AT_ONCE = 100  # draws that are scored together, which limits memory
MOST_DRAWS = 100 * DRAWS  # there is no interval if fewer than DRAWS of these draws show every class
ENDS = (2.5, 97.5)  # percentiles of the draws
FEW, WIDE = 50, 0.1  # a score over fewer frames, or with a wider interval, is told to be a rough one
FOLDS = "fcn-train --folds 5 scores every frame with a network that has not seen it"
# of a class that has an interval of its own, and on which a verdict may rest: with one to three of 60 frames, the 95% interval
# held the true difference in 59 to 89% of simulated val sets, with five and more in 92 to 96%
# (benchmarks/studies/intervals.json)
LEAST_FRAMES = 5


@dataclass(frozen=True)
class Interval:
    """A score over all frames, and its 95% bootstrap interval: from 2000 draws of as many frames, with replacement.

    Both ends are nan if too few frames show the class, if hardly any draw shows all classes, and for a single frame, whose
    draws are all equal.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; False without an interval. For a difference, 0 means no change."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return ends_text((self.low, self.high))

    def rounded(self) -> list[float | None]:
        """Low and high, rounded to six decimals; None for nan."""
        return [rounded(end) for end in (self.low, self.high)]


def ends_text(ends: Sequence[float | None], text: str = "{:.3f} to {:.3f}", none: str = "without an interval") -> str:
    """The ends of an interval, low and high, in words; `none` if they are nan or None."""
    return none if ends[0] is None or np.isnan(ends[0]) else text.format(*ends)


def mean_iou_interval(counts: Counts) -> Interval:
    """The interval of the mean IoU over the classes that the labels show."""
    return _intervals(_all_scores, counts)[-1]


def difference_intervals(ours: Counts, theirs: Counts) -> list[Interval]:
    """Intervals of our scores minus theirs on the same frames: the IoU of each class, then the mean IoU.

    Each draw uses the same frames for both, so frames that are difficult for both do not widen the interval. Both have one
    shape.
    """

    def difference(pairs: Counts) -> Floats:
        return _all_scores(pairs[..., 0]) - _all_scores(pairs[..., 1])

    return _intervals(difference, np.stack([ours, theirs], -1))


def frames_by_class(counts: Counts) -> list[int]:
    """For each class, the number of frames whose labels show it."""
    numbers: list[int] = (label_pixels(counts) > 0).sum(0).tolist()
    return numbers


def classes_of_few_frames(counts: Counts) -> dict[int, int]:
    """The ids of the classes that fewer than `LEAST_FRAMES` frames show, each with the number of these frames."""
    return {class_id: number for class_id, number in enumerate(frames_by_class(counts)) if 0 < number < LEAST_FRAMES}


def score_entry(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    """What a weights file and JSON store of the matrices (F, n, n) of frames: the scores, and how far they can be trusted.

    Beside the scores of the sum: `mean_iou_95`, the ends of the mean IoU's interval; `scored_frames`, the number of frames;
    `frames`, the number that shows each class; and where there are some, `few_frames`, the classes that fewer than
    `LEAST_FRAMES` frames show, and `predicted_only`, the pixels of classes that are predicted and that no label shows.
    """
    matrix = ConfusionMatrix(counts.sum(0))
    entry = matrix.scores() | {"mean_iou_95": mean_iou_interval(counts).rounded(), "scored_frames": len(counts)}
    for key, numbers in (("few_frames", classes_of_few_frames(counts)), ("predicted_only", matrix.predicted_only)):
        if numbers:
            entry[key] = {names[class_id]: number for class_id, number in numbers.items()}
    return entry | {"classes": list(names), "frames": frames_by_class(counts)}


def trust_lines(entry: Mapping[str, Any]) -> list[str]:
    """The interval of the mean IoU, and a sentence where the score is a rough one.

    entry: of `score_entry`.
    """
    return [line for line in (interval_line(entry), few_frames_line(entry)) if line]


def interval_line(entry: Mapping[str, Any]) -> str:
    """The interval of the mean IoU in one line of text, with the classes that few frames show.

    entry: of `score_entry`.
    """
    few = counted(entry.get("few_frames", {}))
    line = f"mean IoU, 95% interval (bootstrap over {entry['scored_frames']} frames): {ends_text(entry['mean_iou_95'])}"
    return line + (few and f"; few frames show {few}")


def few_frames_line(entry: Mapping[str, Any]) -> str:
    """A sentence on a score over few frames, or with a wide interval or none; empty if it is over enough.

    entry: of `score_entry`, or of a file from before they were stored, for which it is empty.
    """
    frames, (low, high) = entry.get("scored_frames"), entry.get("mean_iou_95", (None, None))
    if frames is None or entry["mean_iou"] is None:
        return ""
    if low is None:
        return f"A score over {frames} frames, too few for an interval: on other frames it may be quite another; {FOLDS}."
    if frames >= FEW and high - low <= WIDE:
        return ""
    return (
        f"A rough score, over {frames} frames: on as many others of this kind it may well be {low:.2f} or {high:.2f}. It does "
        f"not tell which of two networks is better; fcn-evaluate --against compares them frame by frame, and {FOLDS}."
    )


def _all_scores(counts: Counts) -> Floats:
    """The IoU of each class, then their mean (..., n + 1)."""
    scores = ious(counts)
    return np.concatenate([scores, nanmean(scores)[..., None]], -1)


def _intervals(score: Callable[[Counts], Floats], counts: Counts) -> list[Interval]:
    """The intervals of the IoU of each class, then of the mean. counts: (F, n, n), or (F, n, n, 2) for two networks.

    score: gives these scores (..., n + 1) of counts that are summed over frames.
    """
    labels = counts[..., 0] if counts.ndim == 4 else counts
    values = score(counts.sum(0))
    draws = _draws(score, counts, (label_pixels(labels) > 0).astype(np.float64))
    if draws is None:
        low = high = np.full(len(values), np.nan)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nan for a class that no label shows
            low, high = np.nanpercentile(draws, ENDS, axis=0)
    few = list(classes_of_few_frames(labels))
    low[few] = high[few] = np.nan
    return [Interval(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def _draws(score: Callable[[Counts], Floats], counts: Counts, has_class: Floats) -> Floats | None:
    """The scores (2000, k) of draws that show every class; None if hardly any draw does, and for a single frame.

    has_class: (F, n), 1 where a frame shows a class.
    """
    frames = len(counts)
    if frames < 2:
        return None
    flat = counts.reshape(frames, -1).astype(np.float64)  # float64 is exact below 2**53, and BLAS multiplies it
    classes = has_class.any(0)
    rng = np.random.default_rng(0)
    parts: list[Floats] = []
    for _ in range(0, MOST_DRAWS, AT_ONCE):
        repeats = rng.multinomial(frames, np.full(frames, 1 / frames), AT_ONCE).astype(np.float64)
        complete = repeats[((repeats @ has_class > 0) | ~classes).all(1)]
        if len(complete):
            parts.append(score((complete @ flat).astype(np.int64).reshape(len(complete), *counts.shape[1:])))
        if sum(map(len, parts)) >= DRAWS:
            return np.concatenate(parts)[:DRAWS]
    return None
