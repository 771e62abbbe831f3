"""Scores against scikit-learn's, and what happens to classes that are not there."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score, recall_score

from training.scoring.metrics import ConfusionMatrix, confusion

Map = npt.NDArray[np.uint8]


def maps(seed: int, classes: list[int]) -> tuple[Map, Map]:
    """Labels with ignored pixels, and predictions that agree with most of them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(classes, np.uint8), (40, 50), p=rng.dirichlet(np.ones(len(classes))))
    predictions = np.where(rng.random(labels.shape) < 0.7, labels, rng.choice(np.array(classes, np.uint8), labels.shape))
    labels[rng.random(labels.shape) < 0.1] = 255
    return labels, predictions.astype(np.uint8)


def matrix(num_classes: int, *pairs: tuple[Map, Map]) -> ConfusionMatrix:
    return ConfusionMatrix(np.sum([confusion(*pair, num_classes) for pair in pairs], 0))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 4, 5], [0, 2, 5], [3]], ids=["all classes", "some absent", "one alone"])
def test_scores_are_those_of_scikit_learn(seed: int, classes: list[int]) -> None:
    pairs = [maps(seed, classes), maps(seed + 100, classes)]
    result = matrix(6, *pairs)
    labels, predictions = (np.concatenate([pair[i].flatten() for pair in pairs]) for i in (0, 1))
    labels, predictions = labels[labels != 255], predictions[labels != 255]
    seen = sorted(set(labels))
    assert result.pixel_accuracy == pytest.approx(accuracy_score(labels, predictions))
    iou = jaccard_score(labels, predictions, labels=seen, average=None, zero_division=0)
    assert result.iou[seen] == pytest.approx(iou)
    assert result.mean_iou == pytest.approx(iou.mean())
    assert result.frequency_weighted_iou == pytest.approx(jaccard_score(labels, predictions, average="weighted"))
    recalls = recall_score(labels, predictions, labels=seen, average=None)
    assert result.class_accuracy[seen] == pytest.approx(recalls)
    assert result.mean_accuracy == pytest.approx(recalls.mean())
    if len(classes) > 1:
        assert result.mean_accuracy == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert np.isnan(result.iou[[i for i in range(6) if i not in seen]]).all()


def test_a_case_by_hand() -> None:
    result = matrix(4, (np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 2]], np.uint8)))
    assert result.counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert result.scores() == {
        "pixel_accuracy": 0.666667,
        "mean_accuracy": 0.75,
        "mean_iou": 0.5,
        "mean_iou_with_predicted": 0.5,
        "frequency_weighted_iou": 0.5,
        "iou": [0.5, 0.5, None, None],
    }


@pytest.mark.parametrize("seed", range(3))
def test_with_predicted_classes_the_mean_is_scikit_learn_s_over_labels_and_predictions(seed: int) -> None:
    labels, predictions = maps(seed, [0, 2, 5])
    predictions[:3] = 4  # which no label shows
    result = matrix(6, (labels, predictions))
    labelled = labels != 255
    expected = jaccard_score(labels[labelled], predictions[labelled], average="macro", zero_division=0)
    assert result.mean_iou_with_predicted == pytest.approx(expected)
    assert result.mean_iou_with_predicted < result.mean_iou
    assert result.predicted_only == {4: int(labelled[:3].sum())}


def test_predictions_at_void_pixels_alone_are_not_counted_as_predicted() -> None:
    result = matrix(3, (np.array([0, 255], np.uint8), np.array([0, 2], np.uint8)))
    assert result.predicted_only == {}
    assert result.mean_iou_with_predicted == result.mean_iou == 1


@pytest.mark.parametrize("labels", [[], [255, 255], [11, 200]], ids=["no pixels", "all void", "unknown ids"])
def test_without_a_labelled_pixel_every_score_is_nan_and_none_when_stored(labels: list[int]) -> None:
    result = matrix(2, (np.array(labels, np.uint8), np.zeros(len(labels), np.uint8)))
    assert result.counts.sum() == 0
    values = (result.pixel_accuracy, result.mean_accuracy, result.mean_iou, result.frequency_weighted_iou)
    assert all(math.isnan(value) for value in values)
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_iou_with_predicted", "frequency_weighted_iou")
    assert result.scores() == dict.fromkeys(names) | {"iou": [None, None]}


def test_many_classes_do_not_overflow_the_8_bits_of_the_maps() -> None:
    labels = np.full((3, 3), 200, np.uint8)
    result = matrix(255, (labels, labels + 1))
    assert result.counts[200, 201] == 9
    assert result.counts.sum() == 9


def test_a_prediction_beyond_the_classes_is_refused_but_at_void_pixels() -> None:
    with pytest.raises(ValueError, match="below 3, got 3"):
        confusion(np.array([0, 1], np.uint8), np.array([0, 3], np.uint8), 3)
    assert confusion(np.array([255, 1], np.uint8), np.array([3, 1], np.uint8), 3).sum() == 1


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) .*\(3, 2\)"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_scores_of_more_pixels_than_32_bits_are_exact() -> None:
    large = (1 << 33) + 1
    matrix = ConfusionMatrix(np.array([[large, 0], [large, 2 * large]]))
    assert matrix.iou.tolist() == pytest.approx([large / (2 * large), 2 / 3], rel=1e-12)
    assert matrix.pixel_accuracy == pytest.approx(3 / 4, rel=1e-12)
