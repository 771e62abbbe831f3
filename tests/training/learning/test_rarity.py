"""Rare classes are those below the median, and each is drawn as often as the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.labels import numbered_labels
from tests.support.training.data_sets import write_camvid
from training.learning.augmentation import RareFrames, rare_classes, rare_line
from training.survey.datasets import get_split
from training.survey.records import survey_all


@pytest.mark.parametrize(
    ("pixels", "rare"),
    [
        ([900, 100], [1]),
        ([900, 50, 40, 10], [2, 3]),
        ([900, 0, 40, 10], [3]),
        ([70, 5, 70], [1]),
        ([70, 70, 70], []),
        ([70], []),
        ([0, 0], []),
    ],
)
def test_classes_below_the_median_are_rare(pixels: list[int], rare: list[int]) -> None:
    assert rare_classes(np.array(pixels)) == rare


def test_each_rare_class_is_drawn_as_often_and_each_of_its_frames(tmp_path: Path) -> None:
    rows = {"0": [0, 1], "1": [0, 2], "2": [0, 3], "3": [0, 1], "4": [0, 1]}
    masks = {name: np.resize(np.array(ids, np.uint8), (8, 8)) for name, ids in rows.items()}
    masks["1"][2:] = 0
    masks["2"][1:] = 0
    masks["4"][0, 0] = 2
    (survey,) = survey_all([get_split(write_camvid(tmp_path, masks), "train", numbered_labels(["a", "b", "c", "d"]))])
    frames = RareFrames(survey)
    assert rare_line(survey, 0.33) == "rare_share: 33% of the crops show a pixel of a rare class: c, d"
    assert len(frames) == 2
    torch.manual_seed(0)
    draws = [frames.draw() for _ in range(400)]
    counts = {draw: draws.count(draw) for draw in set(draws)}
    assert set(counts) == {(2, 1), (2, 4), (3, 2)}
    assert 160 < counts[3, 2] < 240
    assert 70 < counts[2, 1] < 130


def test_equal_classes_leave_nothing_to_draw(tmp_path: Path) -> None:
    masks = {"0": np.resize(np.array([0, 1], np.uint8), (8, 8))}
    (survey,) = survey_all([get_split(write_camvid(tmp_path, masks), "train", numbered_labels(["a", "b"]))])
    assert len(RareFrames(survey)) == 0
    assert rare_line(survey, 0.33) == "no class is rarer than the others, so rare_share=0.33 has no effect"
