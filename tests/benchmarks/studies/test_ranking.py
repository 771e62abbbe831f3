"""What the study of confidence and errors counts, on maps whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.ranking import Frame, errors, rank_correlation, scores, shares, summary


def test_scores_are_means_over_all_pixels_those_near_borders_and_those_inside() -> None:
    class_map = np.zeros((64, 64), np.uint8)
    class_map[:, 32:] = 1
    confidence = np.full((64, 64), 255, np.uint8)
    confidence[:, 32] = 0
    values = scores(class_map, confidence)
    assert values["mean"] == pytest.approx(1 / 64)
    assert values["near borders"] == pytest.approx(1 / 5)  # two columns on either side
    assert values["inside"] == 0
    assert values["by border"] == pytest.approx(1)


def test_one_region_has_the_mean_for_every_part() -> None:
    values = scores(np.zeros((40, 30), np.uint8), np.full((40, 30), 204, np.uint8))
    assert values["mean"] == values["near borders"] == values["inside"] == pytest.approx(0.2)


def test_errors_count_labelled_pixels_alone() -> None:
    truth = np.array([[0, 0, 1, 1], [1, 1, 255, 255]], np.uint8)
    class_map = np.array([[0, 1, 1, 1], [1, 1, 0, 0]], np.uint8)
    wrong, error, iou_error = errors(truth, class_map, truth < 2)
    assert (wrong, error) == (1, pytest.approx(1 / 6))
    assert iou_error == pytest.approx(1 - (1 / 2 + 4 / 5) / 2)


def test_the_correlation_is_of_ranks() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.866, abs=1e-3)


def test_shares_are_those_of_the_frames_that_come_first() -> None:
    wrong = np.array([0.0, 10.0, 30.0, 60.0])
    assert shares(np.array([4.0, 3.0, 2.0, 1.0]), wrong) == [0, 0, 0.1]
    assert shares(wrong, wrong) == [0, 0.6, 0.9]
    frames = [Frame({"mean": value}, int(value), value, -value) for value in wrong]
    assert summary(frames)["scores"]["mean"] == {"error": 1, "iou_error": -1, "first": [0, 0.6, 0.9]}
