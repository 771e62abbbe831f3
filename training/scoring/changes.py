"""How far one network's mean IoU is above another's on the same frames, whether that is sure, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from training.data.problems import counted
from training.scoring.intervals import (
    LEAST_FRAMES,
    Interval,
    classes_of_few_frames,
    difference_intervals,
    ends_text,
    frames_by_class,
)
from training.scoring.metrics import ConfusionMatrix, Counts


@dataclass(frozen=True)
class Change:
    """Changes of the IoU, each with its interval.

    classes: of each class; without an interval if fewer than `LEAST_FRAMES` frames show it. mean: of the mean IoU. few: the ids
    of the classes that fewer frames show, each with the number of these frames. frequent: of the mean IoU of the other classes,
    over the pixels that are labelled with them; None if there are none, and `mean` where `few` is empty.
    """

    classes: list[Interval]
    mean: Interval
    few: dict[int, int]
    frequent: Interval | None

    @property
    def is_sure(self) -> bool:
        """Whether the mean is above or below 0 without doubt, and not by classes of few frames alone.

        The interval of `frequent` must exclude 0; that of `mean` too, if it has one, on the same side. A bootstrap takes a
        class for as sure as its few frames are alike.
        """
        others = self.frequent
        return others is not None and others.excludes_zero and self._is_apart and (others.value > 0) == (self.mean.value > 0)

    @property
    def is_open(self) -> bool:
        """Whether classes of few frames alone put the mean above or below 0."""
        return self._is_apart and not self.is_sure

    @property
    def _is_apart(self) -> bool:
        return isnan(self.mean.low) or self.mean.excludes_zero

    def few_names(self, names: Sequence[str]) -> str:
        """The classes that few frames show, in words. names: of all classes."""
        classes = {names[class_id]: number for class_id, number in self.few.items()}
        return f"the classes that fewer than {LEAST_FRAMES} frames show, {counted(classes)}"

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """The change of the mean IoU as a weights file stores it, and that of the classes that enough frames show."""
        entry: dict[str, Any] = {"mean_iou": round(self.mean.value, 6), "mean_iou_95": self.mean.rounded()}
        if self.few:
            entry["without_few"] = f"without {self.few_names(names)}: {self.frequent_text()}"
        return entry

    def frequent_text(self) -> str:
        """The change of the other classes, in words."""
        return signed(self.frequent) if self.frequent else "no class is left"


def compare(ours: Counts, theirs: Counts) -> Change:
    """How far our scores are above theirs. ours, theirs: matrices (F, n, n) of the same frames and labels."""
    *classes, mean = difference_intervals(ours, theirs)
    few = classes_of_few_frames(ours)
    others = [class_id for class_id, number in enumerate(frames_by_class(ours)) if number >= LEAST_FRAMES]
    frequent: Interval | None = mean
    if few:
        frequent = difference_intervals(only(ours, others), only(theirs, others))[-1] if others else None
    return Change(classes, mean, few, frequent)


def only(counts: Counts, classes: Sequence[int]) -> Counts:
    """The counts without the pixels that are labelled with other classes, so that means are over these classes alone."""
    result = np.zeros_like(counts)
    rows = [*classes, *range(counts.shape[2], counts.shape[1])]
    result[:, rows] = counts[:, rows]
    return result


def signed(change: Interval) -> str:
    """A change of the mean IoU and its interval, in words."""
    return f"{change.value:+.4f} mean IoU, {ends_text((change.low, change.high), '95% interval {:+.4f} to {:+.4f}')}"


def difference_table(ours: Counts, theirs: Counts, change: Change, names: Sequence[str]) -> str:
    """Both networks' IoU, and the change from `theirs` to `ours` with its interval: a row for each class, then the mean.

    A star marks a change whose interval does not contain 0; that of the mean only if it `is_sure`. Where few frames show a
    class, a last line gives the change without it.
    """

    def ends(difference: Interval, is_sure: bool) -> str:
        star = " *" if is_sure and not isnan(difference.low) else ""
        return ends_text((difference.low, difference.high), "{:+.3f} to {:+.3f}", "too few frames") + star

    width = max(len(name) for name in [*names, "mean IoU"])
    rows = [f"{'class':<{width}}  {'IoU':>6}  {'against':>7}  {'change':>6}  95% interval of the change"]
    our_scores, their_scores = ([*m.iou, m.mean_iou] for m in (ConfusionMatrix(counts.sum(0)) for counts in (ours, theirs)))
    sure = [*(each.excludes_zero for each in change.classes), change.is_sure]
    scores = zip([*names, "mean IoU"], our_scores, their_scores, [*change.classes, change.mean], sure, strict=True)
    rows += [
        f"{name:<{width}}  {our_iou:6.3f}  {their_iou:7.3f}  {difference.value:+6.3f}  {ends(difference, is_sure)}"
        for name, our_iou, their_iou, difference, is_sure in scores
    ]
    if change.few:
        rows.append(f"without {change.few_names(names)}: {change.frequent_text()}")
    return "\n".join(rows)
