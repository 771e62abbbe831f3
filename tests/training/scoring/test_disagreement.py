"""Regions in which a network is sure of another class than the label."""

from __future__ import annotations

import numpy as np
import pytest

from training.scoring.disagreement import Disagreement, largest_region

SIZE = (60, 80)


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A label and a prediction that agree on two classes, and the confidence of a sure network."""
    label = np.zeros(SIZE, np.uint8)
    label[20:50, 10:40] = 1
    return label, label.copy(), np.full(SIZE, 255, np.uint8)


def region(label: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> Disagreement:
    result = largest_region(7, label, predicted, confidence)
    assert result is not None
    return result


def test_another_class_than_the_label_is_told_with_its_place_and_share() -> None:
    label, predicted, confidence = maps()
    predicted[20:50, 10:40] = 2
    confidence[:] = 204
    result = region(label, predicted, confidence)
    assert (result.index, result.label, result.prediction) == (7, 1, 2)
    assert result.box == (11, 21, 39, 49)  # without the strip along the border
    assert result.share == pytest.approx(28 * 28 / 4800)
    assert result.confidence == pytest.approx(0.8)
    assert result.weight == pytest.approx(0.8 * result.share)
    assert result.differing == pytest.approx(900 / 4800)


@pytest.mark.parametrize(("swapped", "expected"), [(False, (0, 3)), (True, (1, 2))])
def test_the_region_that_weighs_most_is_told(swapped: bool, expected: tuple[int, int]) -> None:
    label, predicted, confidence = maps()
    predicted[20:50, 10:40] = 2
    predicted[:, 50:] = 3
    if swapped:
        confidence[:, 50:] = 140  # twice as large, and half as sure
        predicted[:20, 50:] = 0
    result = region(label, predicted, confidence)
    assert (result.label, result.prediction) == expected


def test_what_is_no_mistake_is_not_told() -> None:
    """Equal maps, borders that lie a pixel apart, void, and a network that is not sure."""
    label, predicted, confidence = maps()
    assert largest_region(0, label, predicted, confidence) is None
    assert largest_region(0, label, np.roll(predicted, 1, 1), confidence) is None
    void = label.copy()
    void[label == 1] = 255
    assert largest_region(0, void, predicted, confidence) is None
    assert largest_region(0, np.full(SIZE, 255, np.uint8), predicted, confidence) is None
    assert largest_region(0, label, predicted + 1, confidence // 3) is None


def test_more_pairs_of_classes_than_a_map_can_number_do_no_harm() -> None:
    label = np.repeat(np.repeat(np.arange(20, dtype=np.uint8), 8)[:, None], 160, 1)
    predicted = np.repeat(np.repeat(np.arange(20, dtype=np.uint8) + 30, 8)[None], 160, 0)
    result = region(label, predicted, np.full((160, 160), 255, np.uint8))
    assert result.prediction == 30 + result.box[0] // 8
    assert result.label == result.box[1] // 8
