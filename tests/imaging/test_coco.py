"""COCO annotations, read back by pycocotools and Label Studio's own converter, which `make test-long` installs; polygons with
holes as one ring; documents of one image each put into one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from pycocotools.coco import COCO

from common.arrays import Ids
from imaging.answer import Segmentation, SegmentedImage
from imaging.coco import INFO, JoinedDocument, coco_document, keyhole
from imaging.polygons import trace
from imaging.rendering import Rendering
from model.labels import numbered_labels
from tests.support.checkout import ROOT
from tests.support.classes import NAMES
from tests.support.costs import compares_times, cpu_seconds
from tests.support.polling import HANG_S

LABELS = numbered_labels(NAMES).classes
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 2))
CONVERTER = ROOT / "build" / "label-studio" / "bin" / "label-studio-converter"
HOSTILE = '{"id":7,"image_id":1}],"categories":[{"id":1}],"annotations":[{"id":1,"image_id":1,'


def class_map() -> Ids:
    """Two squares of class 1, one with a hole of background; a bar of class 3 with a void end."""
    ids = np.zeros((60, 80), np.uint8)
    ids[5:25, 5:25] = 1
    ids[12:18, 12:18] = 0
    ids[30:50, 40:60] = 1
    ids[30:50, 70:76] = 3
    ids[45:50, 70:76] = 255
    return ids


def annotations(class_map: Ids, tolerance: float | None) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = coco_document(class_map, LABELS, range(256), "a", tolerance)["annotations"]
    return entries


def read(document: dict[str, Any]) -> COCO:
    index = COCO()
    index.dataset = document
    index.createIndex()
    return index


def test_pycocotools_reads_the_regions_back() -> None:
    index = read(coco_document(class_map(), LABELS, range(256), "photo.jpg", None))
    assert index.loadImgs([1])[0] == {"id": 1, "file_name": "photo.jpg", "width": 80, "height": 60}
    assert [entry["name"] for entry in index.loadCats(index.getCatIds())] == ["circle", "square", "triangle"]
    for id in (1, 2, 3):
        mask = np.zeros((60, 80), bool)
        for annotation in index.loadAnns(index.getAnnIds(catIds=[id])):
            mask |= index.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(mask, class_map() == id)


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
    entries = annotations(class_map(), tolerance)
    assert [(entry["id"], entry["category_id"], entry["iscrowd"]) for entry in entries] == [(1, 1, 0), (2, 1, 0), (3, 3, 0)]
    if tolerance is not None:
        assert all(len(ring) >= 6 for entry in entries for (ring,) in [entry["segmentation"]])


def test_category_ids_begin_with_1_where_no_class_is_background() -> None:
    document = coco_document(class_map(), numbered_labels(["sky", "road", "car", "tree"]).classes, range(256), "a", None)
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    assert names == {1: "sky", 2: "road", 3: "car", 4: "tree"}
    assert {names[entry["category_id"]] for entry in document["annotations"]} == {"sky", "road", "tree"}


def test_areas_and_boxes_are_the_regions() -> None:
    first, second, _ = annotations(class_map(), None)
    assert (first["area"], first["bbox"]) == (400 - 36, [5, 5, 20, 20])
    assert (second["area"], second["bbox"]) == (400, [40, 30, 20, 20])
    assert int(coco.area(first["segmentation"])) == first["area"]
    outline, other, _ = annotations(class_map(), 0)
    assert (outline["area"], other["area"]) == (pytest.approx(364, abs=5), pytest.approx(400, abs=3))
    assert outline["bbox"] == [5, 5, 20, 20]


def test_no_outline_is_without_area_and_boxes_are_rounded_as_corners_are() -> None:
    for seed in range(40):
        for annotation in annotations(smooth(seed), 0.5):
            assert annotation["area"] > 0
            assert annotation["bbox"] == [round(value, 2) for value in annotation["bbox"]]


@pytest.mark.parametrize("tolerance", [None, 1.0])
def test_only_the_classes_that_are_wanted_have_annotations_and_ids_stay(tolerance: float | None) -> None:
    document = coco_document(class_map(), LABELS, {0, 3}, "a", tolerance)
    assert [entry["category_id"] for entry in document["annotations"]] == [3]
    assert [entry["id"] for entry in document["categories"]] == [1, 2, 3]


def polygons_of(class_map: Ids, tolerance: float) -> list[shapely.Polygon]:
    """The regions of class 1."""
    return [each.polygon for each in trace(class_map, [1], tolerance)]


def smooth(seed: int) -> Ids:
    """Regions of class 1 with many holes, some of them within others."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8))
    return (np.asarray(coarse.resize((200, 200), Image.Resampling.BICUBIC)) > 110).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_the_ring_has_the_pixels_of_the_region_to_pycocotools(class_map: Ids) -> None:
    for exact, outline in zip(annotations(class_map, None), annotations(class_map, 0), strict=True):
        (ring,) = outline["segmentation"]
        (code,) = coco.frPyObjects([ring], *class_map.shape)
        np.testing.assert_array_equal(coco.decode(code), coco.decode(exact["segmentation"]))


@pytest.mark.parametrize("tolerance", [0, 0.5, 2, 8])
@pytest.mark.parametrize("seed", range(6))
def test_the_ring_runs_inside_the_polygon_with_its_area_and_its_corners(seed: int, tolerance: float) -> None:
    for polygon in polygons_of(smooth(seed), tolerance):
        ring = keyhole(polygon)
        assert shapely.Polygon(ring).area == pytest.approx(polygon.area)
        corners = {tuple(corner) for corner in shapely.get_coordinates(polygon).tolist()}
        others = [corner for corner in map(tuple, ring.tolist()) if corner not in corners]
        assert len(others) <= 2 * len(polygon.interiors)
        assert all(shapely.Point(corner).distance(polygon.boundary) < 1e-9 for corner in others)
        edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, 0)], 1))
        assert shapely.covers(polygon.buffer(1e-9), edges).all()


def test_pillow_leaves_the_holes_empty() -> None:
    canvas = Image.new("1", (80, 60))
    ImageDraw.Draw(canvas).polygon(list(map(tuple, keyhole(polygons_of(class_map(), 1)[0]).tolist())), fill=1)
    pixels = np.asarray(canvas)
    assert not pixels[13:17, 13:17].any()
    assert pixels[6:11, 6:24].all()


def test_holes_that_touch_each_other_and_the_outer_ring_count_once() -> None:
    outer = [(0, 0), (10, 0), (10, 10), (0, 10)]
    holes = [[(0, 5), (2, 6), (2, 4)], [(2, 6), (4, 7), (4, 6)], [(4, 2), (6, 2), (5, 1)], [(4, 2), (5, 3), (6, 3)]]
    polygon = shapely.Polygon(outer, holes)
    assert polygon.is_valid
    assert shapely.Polygon(keyhole(polygon)).area == pytest.approx(polygon.area)


@compares_times
def test_eight_times_the_holes_do_not_take_many_times_as_long() -> None:
    def with_holes(side: int) -> shapely.Polygon:
        class_map = np.ones((side, side), np.uint8)
        class_map[1:-1:4, 1:-1:4] = 0
        return polygons_of(class_map, 0)[0]

    few, many = with_holes(100), with_holes(283)
    assert cpu_seconds(lambda: keyhole(many)) < 25 * cpu_seconds(lambda: keyhole(few))


def document(name: str = "a.png", mask: Any = "rle", label: str = "dot") -> bytes:
    class_map = np.zeros((40, 40), np.uint8)
    class_map[5:10, 5:10] = class_map[20:30, 20:30] = 1
    labels = numbered_labels(["background", label])
    return SegmentedImage(Segmentation(class_map), labels, {}, {}).encode(Rendering("coco", mask, name=name))


@pytest.mark.parametrize("mask", ["rle", "polygons"])
@pytest.mark.parametrize("text", ["a.png", HOSTILE, "ü\n\\", "\udcff"])
def test_ids_change_and_nothing_else(mask: str, text: str) -> None:
    whole = document(text, mask, text)
    joiner, before = JoinedDocument(), json.loads(whole)
    pieces, images = zip(*(joiner.add(whole, image_id, {}) for image_id in (7, 12)), strict=True)
    both = json.loads(b"".join([*pieces, *joiner.rest(images)]))
    assert list(both) == ["info", "licenses", "annotations", "images", "categories"]
    assert both["categories"] == before["categories"]
    assert both["images"] == [before["images"][0] | {"id": id} for id in (7, 12)]
    ids = enumerate((7, 7, 12, 12), 1)
    assert both["annotations"] == [
        entry | {"id": id, "image_id": image} for (id, image), entry in zip(ids, before["annotations"] * 2, strict=True)
    ]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"images":[],"categories":[],"annotations":[]}', document()[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected the COCO document of one image"):
        JoinedDocument().add(data, 1, {})


@pytest.mark.long
@pytest.mark.skipif(not CONVERTER.exists(), reason="Label Studio is not installed")
def test_label_studio_s_converter_reads_one_polygon_for_each_region_with_its_holes(tmp_path: Path) -> None:
    class_map = np.zeros((240, 320), np.uint8)
    ys, xs = np.mgrid[:240, :320]
    class_map[np.hypot(xs - 160, ys - 120) < 100] = 1
    class_map[60:100, 100:150] = class_map[150:160, 200:240] = 0
    class_map[10:30, 10:40] = 2
    document = coco_document(class_map, numbered_labels(["background", "cup", "spoon"]).classes, range(256), "a.png", 0.0)
    labels, tasks = tmp_path / "labels.json", tmp_path / "tasks.json"
    labels.write_text(json.dumps(document))
    command = [CONVERTER, "import", "coco", "-i", labels, "-o", tasks, "--image-root-url", "/data/"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=HANG_S)
    (task,) = json.loads(tasks.read_text())
    polygons = [entry["value"] for entry in task["annotations"][0]["result"] if entry["type"] == "polygonlabels"]
    assert [value["polygonlabels"] for value in polygons] == [["cup"], ["spoon"]]
    for id, value in enumerate(polygons, 1):
        ring = (np.array(value["points"]) / 100 * [320, 240]).flatten().tolist()
        mask = coco.decode(coco.frPyObjects([ring], 240, 320))[:, :, 0].astype(bool)
        np.testing.assert_array_equal(mask, class_map == id)
