"""COCO annotations, read back by pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

from imaging.coco import coco_document
from model.labels import numbered_labels
from tests.conftest import NAMES

LABELS = numbered_labels(NAMES).classes


def class_map() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two squares of class 1, one with a hole of background; a bar of class 3 with a void end."""
    made = np.zeros((60, 80), np.uint8)
    made[5:25, 5:25] = 1
    made[12:18, 12:18] = 0
    made[30:50, 40:60] = 1
    made[30:50, 70:76] = 3
    made[45:50, 70:76] = 255
    return made


def read(document: dict[str, Any]) -> COCO:
    index = COCO()
    index.dataset = document
    index.createIndex()
    return index


@pytest.mark.parametrize("tolerance", [None, 0.0])
def test_pycocotools_reads_the_regions_back(tolerance: float | None) -> None:
    document = coco_document(class_map(), LABELS, "photo.jpg", tolerance)
    index = read(document)
    assert index.loadImgs([1])[0] == {"id": 1, "file_name": "photo.jpg", "width": 80, "height": 60}
    assert [entry["name"] for entry in index.loadCats(index.getCatIds())] == ["circle", "square", "triangle"]
    for id in (1, 2, 3):
        drawn = np.zeros((60, 80), bool)
        for annotation in index.loadAnns(index.getAnnIds(catIds=[id])):
            drawn |= index.annToMask(annotation).astype(bool)
        expected = class_map() == id
        assert (drawn & expected).sum() >= 0.97 * (drawn | expected).sum()
        if tolerance is None:
            np.testing.assert_array_equal(drawn, expected)


def test_background_and_void_have_no_annotation() -> None:
    document = coco_document(class_map(), LABELS, "photo.jpg", None)
    assert {entry["category_id"] for entry in document["annotations"]} == {1, 3}
    assert [entry["id"] for entry in document["annotations"]] == [1, 2]


def test_masks_are_crowds_and_polygons_are_one_a_piece() -> None:
    masks, outlines = (coco_document(class_map(), LABELS, "a", tolerance)["annotations"] for tolerance in (None, 1.0))
    assert {entry["iscrowd"] for entry in masks} == {1}
    assert {entry["iscrowd"] for entry in outlines} == {0}
    assert len({entry["id"] for entry in outlines}) == len(outlines) == 4
    assert all(isinstance(entry["segmentation"], list) and len(entry["segmentation"][0]) >= 6 for entry in outlines)


def test_areas_and_boxes_are_the_regions() -> None:
    (first, _) = coco_document(class_map(), LABELS, "a", None)["annotations"]
    assert (first["area"], first["bbox"]) == (400 - 36 + 400, [5, 5, 55, 45])
    assert int(coco.area(first["segmentation"])) == first["area"]
    outlines = [entry for entry in coco_document(class_map(), LABELS, "a", 0)["annotations"] if entry["category_id"] == 1]
    assert sum(entry["area"] for entry in outlines) == pytest.approx(764, abs=5)
    assert min(entry["bbox"][0] for entry in outlines) == 5


def test_no_outline_is_without_area_and_boxes_are_rounded_as_corners_are() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).resize((200, 200), Image.Resampling.BICUBIC)
        class_map = (np.asarray(coarse) > 128).astype(np.uint8)
        for found in coco_document(class_map, LABELS, "a.png", 0.5)["annotations"]:
            assert found["area"] > 0
            assert found["bbox"] == [round(value, 2) for value in found["bbox"]]
