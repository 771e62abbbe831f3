"""COCO annotations, read back by pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

from imaging.coco import INFO, coco_document
from model.labels import numbered_labels
from tests.support.classes import NAMES

LABELS = numbered_labels(NAMES).classes


def class_map() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two squares of class 1, one with a hole of background; a bar of class 3 with a void end."""
    ids = np.zeros((60, 80), np.uint8)
    ids[5:25, 5:25] = 1
    ids[12:18, 12:18] = 0
    ids[30:50, 40:60] = 1
    ids[30:50, 70:76] = 3
    ids[45:50, 70:76] = 255
    return ids


def read(document: dict[str, Any]) -> COCO:
    index = COCO()
    index.dataset = document
    index.createIndex()
    return index


@pytest.mark.parametrize("tolerance", [None, 0.0])
def test_pycocotools_reads_the_regions_back(tolerance: float | None) -> None:
    document = coco_document(class_map(), LABELS, range(256), "photo.jpg", tolerance)
    index = read(document)
    assert index.loadImgs([1])[0] == {"id": 1, "file_name": "photo.jpg", "width": 80, "height": 60}
    assert [entry["name"] for entry in index.loadCats(index.getCatIds())] == ["circle", "square", "triangle"]
    for id in (1, 2, 3):
        mask = np.zeros((60, 80), bool)
        for annotation in index.loadAnns(index.getAnnIds(catIds=[id])):
            mask |= index.annToMask(annotation).astype(bool)
        expected = class_map() == id
        assert (mask & expected).sum() >= 0.97 * (mask | expected).sum()
        if tolerance is None:
            np.testing.assert_array_equal(mask, expected)


def test_its_info_and_licenses_are_there_and_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    document = coco_document(class_map(), LABELS, range(256), "photo.jpg", None)
    index = read(document)
    index.info()
    assert f"description: {INFO['description']}" in capsys.readouterr().out
    assert (document["info"], document["licenses"]) == (INFO, [])
    assert index.loadRes(document["annotations"]).dataset["info"] == INFO


@pytest.mark.parametrize("name", ["background", "Background", "BACKGROUND", "_background_"])
def test_background_is_known_by_every_way_of_writing_it(name: str) -> None:
    document = coco_document(class_map(), numbered_labels([name, *NAMES[1:]]).classes, range(256), "a", None)
    assert [entry["name"] for entry in document["categories"]] == ["circle", "square", "triangle"]


@pytest.mark.parametrize("tolerance", [None, 1.0])
def test_each_region_is_one_annotation_and_no_crowd(tolerance: float | None) -> None:
    """The square with a hole too. Background and void have none."""
    annotations = coco_document(class_map(), LABELS, range(256), "a", tolerance)["annotations"]
    facts = [(entry["id"], entry["category_id"], entry["iscrowd"]) for entry in annotations]
    assert facts == [(1, 1, 0), (2, 1, 0), (3, 3, 0)]
    if tolerance is not None:
        assert [len(entry["segmentation"]) for entry in annotations] == [1, 1, 1]
        assert all(len(ring) >= 6 for entry in annotations for ring in entry["segmentation"])


def test_category_ids_begin_with_1_where_no_class_is_background() -> None:
    document = coco_document(class_map(), numbered_labels(["sky", "road", "car", "tree"]).classes, range(256), "a", None)
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    assert names == {1: "sky", 2: "road", 3: "car", 4: "tree"}
    assert {names[entry["category_id"]] for entry in document["annotations"]} == {"sky", "road", "tree"}


def test_areas_and_boxes_are_the_regions() -> None:
    first, second, _ = coco_document(class_map(), LABELS, range(256), "a", None)["annotations"]
    assert (first["area"], first["bbox"]) == (400 - 36, [5, 5, 20, 20])
    assert (second["area"], second["bbox"]) == (400, [40, 30, 20, 20])
    assert int(coco.area(first["segmentation"])) == first["area"]
    outlines = [
        entry for entry in coco_document(class_map(), LABELS, range(256), "a", 0)["annotations"] if entry["category_id"] == 1
    ]
    assert [entry["area"] for entry in outlines] == [pytest.approx(364, abs=5), pytest.approx(400, abs=3)]
    assert outlines[0]["bbox"] == [5, 5, 20, 20]


def test_no_outline_is_without_area_and_boxes_are_rounded_as_corners_are() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).resize((200, 200), Image.Resampling.BICUBIC)
        class_map = (np.asarray(coarse) > 128).astype(np.uint8)
        for annotation in coco_document(class_map, LABELS, range(256), "a.png", 0.5)["annotations"]:
            assert annotation["area"] > 0
            assert annotation["bbox"] == [round(value, 2) for value in annotation["bbox"]]


@pytest.mark.parametrize("tolerance", [None, 1.0])
def test_only_the_classes_that_are_wanted_have_annotations_and_ids_stay(tolerance: float | None) -> None:
    document = coco_document(class_map(), LABELS, {0, 3}, "a", tolerance)
    assert [entry["category_id"] for entry in document["annotations"]] == [3]
    assert [entry["id"] for entry in document["categories"]] == [1, 2, 3]
