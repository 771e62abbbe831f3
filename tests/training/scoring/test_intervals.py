"""Bootstrap intervals over frames: where they lie, what pairs them, and what they do without labels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from model.metrics import ConfusionMatrix
from training.scoring.intervals import Interval, difference_intervals, mean_iou_interval, rare_classes

Counts = npt.NDArray[np.int64]


def frames(accuracies: npt.NDArray[np.float64], pixels: int = 1000) -> Counts:
    """Confusion matrices of two classes of as many pixels, this share of which is right in each frame."""
    right = np.rint(accuracies * pixels).astype(np.int64)
    counts = np.empty((len(right), 2, 2), np.int64)
    counts[:, 0, 0] = counts[:, 1, 1] = right
    counts[:, 0, 1] = counts[:, 1, 0] = pixels - right
    return counts


def varied(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0.6, 0.9, count)


def test_the_value_is_the_score_over_all_frames() -> None:
    counts = frames(varied(50))
    matrix = ConfusionMatrix(2)
    matrix.counts = counts.sum(0)
    interval = mean_iou_interval(counts)
    assert interval.value == matrix.mean_iou
    assert interval.low < interval.value < interval.high


def test_equal_frames_leave_no_doubt_and_more_frames_leave_less() -> None:
    even = mean_iou_interval(frames(np.full(20, 0.8)))
    assert even.low == even.value == even.high
    few, many = (mean_iou_interval(frames(varied(count))) for count in (20, 500))
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_interval_is_that_of_the_means_distribution() -> None:
    """Of frames of one class alone and of one size, the IoU is the accuracy's mean: 1.96 standard errors either way."""
    accuracies = varied(200)
    counts = np.zeros((200, 2, 2), np.int64)
    counts[:, 0, 0] = np.rint(accuracies * 1000)
    counts[:, 0, 1] = 1000 - counts[:, 0, 0]
    interval = mean_iou_interval(counts)
    spread = 1.96 * accuracies.std() / math.sqrt(200)
    assert interval.value == pytest.approx(accuracies.mean(), abs=1e-3)
    assert (interval.low, interval.high) == pytest.approx((interval.value - spread, interval.value + spread), abs=0.15 * spread)


def test_what_both_find_hard_does_not_hide_a_difference() -> None:
    accuracies = varied(60)
    theirs, ours = frames(accuracies), frames(accuracies + 0.01)
    *classes, mean = difference_intervals(ours, theirs)
    assert len(classes) == 2
    single = mean_iou_interval(ours)
    assert mean.excludes_zero
    assert mean.high - mean.low < (single.high - single.low) / 10
    assert mean.value == pytest.approx(single.value - mean_iou_interval(theirs).value)
    back = difference_intervals(theirs, ours)[-1]
    assert (back.low, back.high) == pytest.approx((-mean.high, -mean.low))


def test_a_difference_by_chance_is_not_decided() -> None:
    interval = difference_intervals(frames(varied(60, 1)), frames(varied(60, 2)))[-1]
    assert interval.low < 0 < interval.high
    assert not interval.excludes_zero


def test_classes_without_labels_have_no_interval() -> None:
    counts = np.zeros((3, 3, 3), np.int64)
    counts[:, 0, 0], counts[:, 1, 1], counts[:, 1, 2] = 10, 5, 5
    *classes, mean = difference_intervals(counts, counts)
    assert math.isnan(classes[2].value)
    assert classes[2].rounded() == [None, None]
    assert not classes[2].excludes_zero
    assert (mean.value, mean.low, mean.high) == (0, 0, 0)
    assert mean_iou_interval(counts).value == pytest.approx(0.75)


def test_equal_calls_give_equal_intervals() -> None:
    counts = frames(varied(30))
    assert mean_iou_interval(counts) == mean_iou_interval(counts)
    assert isinstance(mean_iou_interval(counts), Interval)


def test_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the same frames and classes, got \(3, 2, 2\) and \(4, 2, 2\)"):
        difference_intervals(frames(varied(3)), frames(varied(4)))


def test_a_class_of_a_single_frame_has_no_interval() -> None:
    """A draw without that frame says nothing of the class, and all others say the same."""
    counts = np.zeros((20, 2, 2), np.int64)
    counts[:, 0, 0] = 100
    ours, theirs = counts.copy(), counts.copy()
    ours[3, 1], theirs[3, 1] = [40, 60], [45, 55]
    background, rare, mean = difference_intervals(ours, theirs)
    assert rare.value > 0
    assert math.isnan(rare.low)
    assert math.isnan(rare.high)
    assert not rare.excludes_zero
    assert not math.isnan(background.low)
    assert not math.isnan(mean.low)


def rare_counts(frames: int, classes: int, background: float, others: float) -> Counts:
    """Frames of background alone, but for one frame for each further class; the shares of their pixels that are right."""
    counts = np.zeros((frames, classes, classes), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = round(1000 * background), 1000 - round(1000 * background)
    for index in range(1, classes):
        counts[index, index, index], counts[index, index, 0] = round(1000 * others), 1000 - round(1000 * others)
    return counts


def test_every_draw_s_mean_is_over_the_classes_of_the_score() -> None:
    """Draws that lack the weak classes would have the strong one's IoU as their mean."""
    counts = rare_counts(frames=30, classes=4, background=0.95, others=0.4)
    interval = mean_iou_interval(counts)
    assert interval.low <= interval.value <= interval.high
    assert interval.high < 0.6
    assert difference_intervals(counts, counts)[-1] == Interval(0, 0, 0)


def test_classes_of_few_frames_are_named() -> None:
    counts = rare_counts(frames=30, classes=4, background=0.95, others=0.4)
    assert rare_classes(counts) == {1: 1, 2: 1, 3: 1}
    counts[10:14, 1, 1] = 5
    assert rare_classes(counts) == {2: 1, 3: 1}


def test_where_hardly_a_draw_shows_every_class_there_is_no_interval() -> None:
    counts = rare_counts(frames=40, classes=30, background=0.95, others=0.4)
    interval = mean_iou_interval(counts)
    assert not math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert interval.rounded() == [None, None]


def test_a_single_frame_has_no_interval() -> None:
    """Every draw of it is the same, and would be a certainty, with a star."""
    ours, theirs = frames(np.array([0.8])), frames(np.array([0.7]))
    alone = mean_iou_interval(ours)
    assert alone.value == pytest.approx(0.8 / 1.2)
    assert alone.rounded() == [None, None]
    assert str(alone) == "without an interval"
    assert not any(difference.excludes_zero for difference in difference_intervals(ours, theirs))
