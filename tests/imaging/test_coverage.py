"""Polygons that share their borders: no gaps, no overlaps, the pixels of the regions, and their limits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco

from imaging.answer import SegmentedImage
from imaging.errors import AnswerTooLarge
from imaging.polygons import trace, trace_coverage
from imaging.regions import MOST_SHARED_BORDERS, Regions
from imaging.rendering import Rendering
from imaging.runs import column_runs
from model.labels import numbered_labels

Ids = npt.NDArray[np.uint8]
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 3))
CLASSES = range(4)


def polygons_of(class_map: Ids, tolerance: float, ids: Any = CLASSES) -> list[tuple[int, shapely.Polygon]]:
    return list(trace_coverage(class_map, Regions(column_runs(class_map), ids), tolerance))


def smooth(side: int = 240) -> Ids:
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 20), np.uint8))
    return (np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) // 64).astype(np.uint8)


def answer(class_map: Ids, **parameters: Any) -> dict[str, Any]:
    labels = numbered_labels(["background", "a", "b", "c"])
    image = SegmentedImage(None, class_map, None, None, [0.5] * 256, labels, {}, {})
    document: dict[str, Any] = json.loads(image.encode(Rendering(topology="shared", mask="polygons", **parameters)))
    return document


@settings(max_examples=60, deadline=None)
@given(MAPS)
def test_without_simplification_each_polygon_is_its_region(class_map: Ids) -> None:
    regions = Regions(column_runs(class_map), CLASSES)
    for (id, polygon), region in zip(polygons_of(class_map, 0), regions.masks(), strict=True):
        assert polygon.is_valid
        assert (id, polygon.area) == (region.id, region.pixels)
        left, top, width, height = region.bbox
        assert polygon.bounds == (left, top, left + width, top + height)
        ys, xs = np.mgrid[: class_map.shape[0], : class_map.shape[1]] + 0.5
        mask = coco.decode({"size": list(class_map.shape), "counts": region.counts}).astype(bool)
        np.testing.assert_array_equal(shapely.contains_xy(polygon, xs, ys), mask)


@settings(max_examples=100, deadline=None)
@given(MAPS, st.sampled_from([0.8, 1.0, 2.0, 6.0]))
def test_simplified_polygons_cover_the_image_without_gaps_and_overlaps(class_map: Ids, tolerance: float) -> None:
    polygons = [polygon for _, polygon in polygons_of(class_map, tolerance)]
    assert all(polygon.is_valid and polygon.area > 0 for polygon in polygons)
    assert shapely.coverage_is_valid(polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(class_map.size)
    assert shapely.union_all(polygons).equals(shapely.box(0, 0, *class_map.shape[::-1]))


@pytest.mark.parametrize("tolerance", [1, 4])
def test_polygons_for_themselves_leave_gaps_where_shared_ones_do_not(tolerance: float) -> None:
    class_map = smooth()
    coverage = [polygon for _, polygon in polygons_of(class_map, tolerance)]
    apart = [polygon for _, polygon in trace(class_map, Regions(column_runs(class_map), CLASSES), tolerance)]
    assert shapely.coverage_is_valid(coverage)
    assert not shapely.coverage_is_valid(apart)
    corners = shapely.get_num_coordinates(coverage).sum()
    assert corners < shapely.get_num_coordinates([polygon for _, polygon in polygons_of(class_map, 0)]).sum() / 2
    for (id, polygon), region in zip(
        polygons_of(class_map, tolerance), Regions(column_runs(class_map), CLASSES).masks(), strict=True
    ):
        assert id == region.id
        assert abs(polygon.area - region.pixels) <= max(2 * tolerance**2, 0.3 * region.pixels)


def test_json_keeps_holes_and_coco_shows_the_same_pixels() -> None:
    class_map = np.ones((40, 50), np.uint8)
    class_map[5:30, 5:30] = 2
    class_map[10:20, 10:20] = 3
    polygons = answer(class_map, format="json", tolerance=0)["class_map"]["polygons"]
    assert [len(rings) for id in "123" for rings in polygons[id]] == [2, 2, 1]
    assert sum(shapely.Polygon(rings[0], rings[1:]).area for id in "123" for rings in polygons[id]) == class_map.size
    for entry in answer(class_map, format="coco", tolerance=0)["annotations"]:
        (ring,) = entry["segmentation"]
        (mask,) = coco.frPyObjects([ring], 40, 50)
        np.testing.assert_array_equal(coco.decode(mask), class_map == entry["category_id"])
        assert entry["area"] == (class_map == entry["category_id"]).sum()


def test_only_the_classes_that_are_wanted_are_shown() -> None:
    assert {id for id, _ in polygons_of(smooth(), 1, [2, 3])} == {2, 3}
    assert polygons_of(np.zeros((3, 4), np.uint8), 1, []) == []


def test_more_borders_than_its_limit_are_refused_with_a_way_out() -> None:
    class_map = np.ones((700, 700), np.uint8)
    class_map[1::4, 1::4] = 0
    assert list(trace(class_map, Regions(column_runs(class_map), [1]), 0))
    with pytest.raises(
        AnswerTooLarge, match=f"122,500 borders.*at most {MOST_SHARED_BORDERS:,}.*topology=shared; leave it out"
    ):
        polygons_of(class_map, 0, [1])
