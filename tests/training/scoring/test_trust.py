"""What is said about a score: its interval, how few frames it is over, and which classes its means leave out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.metrics import ConfusionMatrix
from training.scoring.evaluate import table
from training.scoring.intervals import Counts, mean_iou_interval
from training.scoring.trust import few_frames_line, interval_line, score_facts, trust_lines

NAMES = ["ground", "car", "bus"]


def frames(number: int, spread: float) -> Counts:
    """Matrices of frames that show two of three classes, with a share of errors that differs by up to `spread`."""
    wrong = (np.random.default_rng(0).random(number) * spread * 1000).astype(np.int64)
    counts = np.zeros((number, 3, 3), np.int64)
    counts[:, 0, 0], counts[:, 0, 1], counts[:, 1, 1] = 1000 - wrong, wrong, 500
    return counts


def facts(counts: Counts) -> dict[str, object]:
    return score_facts(counts, mean_iou_interval(counts), NAMES)


def test_a_score_over_few_frames_is_told_to_be_a_rough_one_with_its_ends() -> None:
    some = facts(frames(12, 0.8))
    low, high = mean_iou_interval(frames(12, 0.8)).rounded()
    assert f"over 12 frames: on as many others of this kind it may well be {low:.2f} or {high:.2f}" in few_frames_line(some)
    assert "fcn-train --folds 5" in few_frames_line(some)
    assert trust_lines(some) == [interval_line(some), few_frames_line(some)]


def test_a_score_over_many_frames_that_agree_is_not() -> None:
    many = facts(frames(300, 0.8))
    assert trust_lines(many) == [interval_line(many)]
    assert "bootstrap over 300 frames" in interval_line(many)


def test_many_frames_with_a_wide_interval_are_too_few() -> None:
    rare = frames(100, 0.0)
    rare[:20, 2, 2] = rare[20:40, 2, 0] = 500  # a class that is recognised in half of its frames
    low, high = mean_iou_interval(rare).rounded()
    assert low is not None
    assert high is not None
    assert (high - low > 0.1) == bool(few_frames_line(facts(rare)))
    assert high - low > 0.1


@pytest.mark.parametrize("number", [1, 12])
def test_without_an_interval_the_sentence_says_so(number: int) -> None:
    counts = frames(number, 0.5)
    if number > 1:
        counts = np.zeros((number, 12, 12), np.int64)
        counts[range(number), range(number), range(number)] = 9  # each frame shows a class of its own
    names = [str(index) for index in range(counts.shape[-1])]
    some = score_facts(counts, mean_iou_interval(counts), names)
    assert f"over {number} frames, too few for an interval" in few_frames_line(some)


def test_a_file_from_before_the_frames_were_counted_has_no_sentence() -> None:
    assert few_frames_line({"mean_iou": 0.5, "mean_iou_95": [0.1, 0.9]}) == ""


def test_frames_without_labels_have_no_sentence_and_are_stored_as_json() -> None:
    void = facts(np.zeros((2, 3, 3), np.int64))
    assert few_frames_line(void) == ""
    json.dumps(void, allow_nan=False)


def test_classes_that_are_predicted_alone_are_named_with_the_mean_that_counts_them() -> None:
    counts = frames(3, 0.0)
    assert "predicted" not in table(ConfusionMatrix.of_frames(counts), NAMES)
    assert "predicted_only" not in facts(counts)
    counts[0, 0, 2] = 40
    matrix = ConfusionMatrix.of_frames(counts)
    line = table(matrix, NAMES).splitlines()[-1]
    assert "shown by no label" in line
    assert "bus (40 pixels)" in line
    assert line.endswith(f"{matrix.mean_iou * 2 / 3:.3f}")
    stored = facts(counts)
    assert stored["predicted_only"] == {"bus": 40}
    assert stored["mean_iou_with_predicted"] == pytest.approx(matrix.mean_iou * 2 / 3, abs=1e-6)
