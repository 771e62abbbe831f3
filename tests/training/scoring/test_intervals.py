"""Bootstrap intervals over frames: where they lie, what pairs them, and what they do without labels."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest

from training.scoring.evaluate import table
from training.scoring.intervals import (
    Interval,
    classes_of_few_frames,
    difference_intervals,
    few_frames_line,
    interval_line,
    mean_iou_interval,
    score_entry,
    trust_lines,
)
from training.scoring.metrics import ConfusionMatrix, Counts

NAMES = ["ground", "car", "bus"]


def frames(accuracies: npt.NDArray[np.float64], pixels: int = 1000) -> Counts:
    """Confusion matrices of two classes of as many pixels, this share of which is right in each frame."""
    right = np.rint(accuracies * pixels).astype(np.int64)
    counts = np.empty((len(right), 2, 2), np.int64)
    counts[:, 0, 0] = counts[:, 1, 1] = right
    counts[:, 0, 1] = counts[:, 1, 0] = pixels - right
    return counts


def varied(count: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0.6, 0.9, count)


def test_equal_frames_leave_no_doubt_and_more_frames_leave_less() -> None:
    even = mean_iou_interval(frames(np.full(20, 0.8)))
    assert even.low == even.value == even.high
    assert mean_iou_interval(frames(varied(50))).value == ConfusionMatrix(frames(varied(50)).sum(0)).mean_iou
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


def test_classes_without_labels_have_no_interval() -> None:
    counts = np.zeros((3, 3, 3), np.int64)
    counts[:, 0, 0], counts[:, 1, 1], counts[:, 1, 2] = 10, 5, 5
    *classes, mean = difference_intervals(counts, counts)
    assert math.isnan(classes[2].value)
    assert classes[2].rounded() == [None, None]
    assert not classes[2].excludes_zero
    assert (mean.value, mean.low, mean.high) == (0, 0, 0)
    assert mean_iou_interval(counts).value == pytest.approx(0.75)


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
    assert classes_of_few_frames(counts) == {1: 1, 2: 1, 3: 1}
    background, *rare, mean = difference_intervals(counts, counts)
    assert mean == Interval(0, 0, 0)
    assert not math.isnan(background.low)
    assert all(math.isnan(each.low) and not each.excludes_zero for each in rare), "of a single frame"


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


def spread(number: int, wrong_share: float) -> Counts:
    """Matrices of frames that show two of three classes, with a share of errors that differs by up to `wrong_share`."""
    wrong = (np.random.default_rng(0).random(number) * wrong_share * 1000).astype(np.int64)
    counts = np.zeros((number, 3, 3), np.int64)
    counts[:, 0, 0], counts[:, 0, 1], counts[:, 1, 1] = 1000 - wrong, wrong, 500
    return counts


def facts(counts: Counts) -> dict[str, object]:
    return score_entry(counts, NAMES)


def test_a_score_over_few_frames_or_with_a_wide_interval_is_told_to_be_a_rough_one() -> None:
    some, many = facts(spread(12, 0.8)), facts(spread(300, 0.8))
    low, high = mean_iou_interval(spread(12, 0.8)).rounded()
    assert f"over 12 frames: on as many others of this kind it may well be {low:.2f} or {high:.2f}" in few_frames_line(some)
    assert trust_lines(some) == [interval_line(some), few_frames_line(some)]
    assert trust_lines(many) == [interval_line(many)]
    assert "bootstrap over 300 frames" in interval_line(many)
    rare = spread(100, 0.0)
    rare[:20, 2, 2] = rare[20:40, 2, 0] = 500  # a class that is recognised in half of its frames
    assert few_frames_line(facts(rare))
    assert "over 1 frames, too few for an interval" in few_frames_line(facts(spread(1, 0.5)))


def test_what_has_no_labels_or_is_of_before_has_no_sentence() -> None:
    void = facts(np.zeros((2, 3, 3), np.int64))
    assert few_frames_line(void) == ""
    json.dumps(void, allow_nan=False)
    assert few_frames_line({"mean_iou": 0.5, "mean_iou_95": [0.1, 0.9]}) == ""


def test_classes_that_are_predicted_alone_are_named_with_the_mean_that_counts_them() -> None:
    counts = spread(3, 0.0)
    assert "predicted" not in table(ConfusionMatrix(counts.sum(0)), NAMES)
    assert "predicted_only" not in facts(counts)
    counts[0, 0, 2] = 40
    matrix = ConfusionMatrix(counts.sum(0))
    line = table(matrix, NAMES).splitlines()[-1]
    assert "bus (40 pixels)" in line
    assert line.endswith(f"{matrix.mean_iou * 2 / 3:.3f}")
    assert facts(counts)["predicted_only"] == {"bus": 40}
    assert facts(counts)["mean_iou_with_predicted"] == pytest.approx(matrix.mean_iou * 2 / 3, abs=1e-6)
