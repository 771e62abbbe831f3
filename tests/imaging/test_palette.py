"""Display colours: distinct, for colour-blind people too, and the same for each class of a growing label set."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.palette import display_palette, is_light
from model.labels import LabelSet, camvid_labels, numbered_labels, voc_labels
from tests.support.vision import VISIONS, Vision, oklab

VOC, CAMVID = voc_labels(), camvid_labels()


def least_distance(colors: list[tuple[int, int, int]], vision: Vision) -> float:
    points = oklab(colors, vision)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return float(distances[~np.eye(len(colors), dtype=bool)].min())


def class_colors(labels: LabelSet) -> list[tuple[int, int, int]]:
    palette = display_palette(labels.classes)
    return [palette[label.id] for label in labels.classes]


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(("labels", "least"), [(VOC, 0.05), (CAMVID, 0.09)], ids=["voc", "camvid"])
def test_classes_are_farther_apart_than_by_the_label_sets_colors(labels: LabelSet, least: float, vision: Vision) -> None:
    distance = least_distance(class_colors(labels), vision)
    assert distance > least
    assert distance > 1.5 * least_distance([label.color for label in labels.classes], vision)


def test_every_class_of_the_largest_label_set_has_a_color_of_its_own() -> None:
    colors = class_colors(numbered_labels([f"class {i}" for i in range(255)]))
    assert len(set(colors)) == 255
    assert len(display_palette(VOC.classes)) == 256


def test_background_and_void_are_grey_and_no_class_is() -> None:
    palette = display_palette(numbered_labels(["_background_", "leaf"]).classes)
    for grey in (palette[0], palette[255]):
        assert len(set(grey)) == 1
    assert palette[0] != palette[255]
    assert palette[2:255] == [(0, 0, 0)] * 253
    chroma = np.linalg.norm(oklab(class_colors(VOC)[1:])[:, 1:], axis=1)
    assert chroma.min() > 0.1


def test_text_on_light_colors_is_black() -> None:
    assert [is_light(color) for color in ((255, 255, 0), (255, 255, 255), (0, 0, 200), (0, 0, 0))] == [True, True, False, False]
