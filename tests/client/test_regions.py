"""Regions and outlines with their scores, on class maps drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from fcn_client import ClassShare, Label, Segmentation
from fcn_client.regions import outlines, regions

LABELS = (
    Label(0, "background", "#000000", "#000000"),
    Label(1, "cat", "#400000", "#400000"),
    Label(2, "dog", "#400080", "#400080"),
)
CLASS_MAP = np.array(
    [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 2, 2, 2],
        [0, 0, 1, 2, 0, 2],
        [0, 0, 0, 2, 2, 2],
    ],
    np.uint8,
)


def segmentation(confidence: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None) -> Segmentation:
    ids = np.unique(CLASS_MAP).tolist()
    shares = tuple(ClassShare(id, LABELS[id].name, "#000000", 1, 0.1, 0.5, (0, 0, 1, 1)) for id in ids)
    return Segmentation(CLASS_MAP, confidence, shares, {"name": "m"}, {}, "", {}, LABELS)


def confidence_map() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    confidence = np.full(CLASS_MAP.shape, 51, np.uint8)
    confidence[:2, :2] = [[255, 255], [153, 153]]
    confidence[CLASS_MAP == 2] = 102
    return confidence


def test_pixels_that_touch_at_a_corner_alone_are_of_two_regions_of_the_classes_that_are_asked_for() -> None:
    block, pixel, ring = regions(segmentation(confidence_map()), {1, 2})
    assert [(region.id, region.left, region.top, region.mask.shape) for region in (block, pixel, ring)] == [
        (1, 0, 0, (2, 2)), (1, 2, 2, (1, 1)), (2, 3, 1, (3, 3)),
    ]  # fmt: skip
    assert [region.score for region in (block, pixel, ring)] == pytest.approx([0.8, 0.2, 0.4])
    assert ring.mask.sum() == 8
    assert not ring.mask[1, 1]
    assert [region.id for region in regions(segmentation(confidence_map()), {2, 77})] == [2]


def test_an_outline_has_the_confidence_inside() -> None:
    document = {
        "categories": [{"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
            {"category_id": 3, "segmentation": [[3, 1, 6, 1, 6, 2, 3, 2], [3, 3, 6, 3, 6, 4, 3, 4]]},
        ],
    }
    pieces = list(outlines(segmentation(confidence_map()), document))
    assert [piece.id for piece in pieces] == [1, 2, 2]
    assert [piece.score for piece in pieces] == pytest.approx([0.8, 0.4, 0.4])
    assert pieces[0].points.tolist() == [[0, 0], [2, 0], [2, 2], [0, 2]]


def test_scores_need_the_confidence_map() -> None:
    with pytest.raises(ValueError, match="confidence=True"):
        list(regions(segmentation(None), {1}))
