"""Polygons: where their borders run, what simplification may move, holes, and borders that neighbours share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco

from common.arrays import Ids, Mask
from imaging.answer import Segmentation, SegmentedImage
from imaging.errors import AnswerTooLarge
from imaging.polygons import to_lists, trace
from imaging.regions import MOST_SHARED_BORDERS, Regions
from imaging.rendering import Rendering
from imaging.runs import column_runs
from model.labels import numbered_labels
from tests.support.costs import compares_times, cpu_seconds

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 3))
CLASSES = range(4)


def polygons_of(class_map: Ids, tolerance: float, *, shared: bool = False) -> list[shapely.Polygon]:
    return [each.polygon for each in trace(class_map, CLASSES, tolerance, shares_borders=shared)]


def trace_mask(mask: Mask, tolerance: float) -> list[shapely.Polygon]:
    """The regions of a mask."""
    return [each.polygon for each in trace(mask.astype(np.uint8), [1], tolerance)]


def smooth(seed: int = 3) -> Ids:
    """Grey levels without sharp edges, of 240x240 pixels."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20), np.uint8))
    return np.asarray(coarse.resize((240, 240), Image.Resampling.BICUBIC))


def disc(side: int, radius: float, hole: float = 0) -> Mask:
    ys, xs = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.hypot(xs, ys)
    return (distance <= radius) & (distance >= hole)


@pytest.mark.parametrize("shared", [False, True])
@settings(max_examples=150, deadline=None)
@given(MAPS)
def test_without_simplification_each_polygon_is_its_region_in_the_order_of_run_lengths(shared: bool, class_map: Ids) -> None:
    polygons = trace(class_map, [2, 0, 3], 0, shares_borders=shared)
    for each, region in zip(polygons, Regions(column_runs(class_map), [2, 0, 3]).masks(), strict=True):
        assert (each.id, each.pixels, each.square_metres) == (region.id, region.pixels, region.pixels)
        ys, xs = np.mgrid[: class_map.shape[0], : class_map.shape[1]] + 0.5
        mask = coco.decode({"size": list(class_map.shape), "counts": region.counts}).astype(bool)
        np.testing.assert_array_equal(shapely.contains_xy(each.polygon, xs, ys), mask)
        if shared:
            assert each.polygon.is_valid
            assert each.polygon.area == region.pixels


def test_areas_and_confidences_come_with_the_rows() -> None:
    class_map = np.array([[1, 1, 2], [1, 0, 2], [3, 3, 3]], np.uint8)
    areas, confidence = np.arange(9.0).reshape(3, 3), np.arange(9, dtype=np.uint8).reshape(3, 3) * 20
    parts = [(class_map[rows], areas[rows], confidence[rows]) for rows in (slice(1), slice(1, 3))]
    facts = [each.properties({1: "a", 2: "b", 3: "c"}) for each in trace(class_map, [1, 2, 3], 1, parts=parts)]
    assert [(each["class"], each["area_m2"]) for each in facts] == [("a", 4), ("b", 7), ("c", 21)]
    assert [each["confidence"] for each in facts] == [round(20 * mean / 255, 4) for mean in (4 / 3, 3.5, 7)]


def test_borders_run_between_pixels() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    (region,) = trace_mask(mask, 0)
    assert region.bounds == (3, 2, 7, 5)
    assert region.area == pytest.approx(12 - 4 / 8)


def test_a_hole_is_kept_and_rings_are_closed() -> None:
    (region,) = to_lists(list(trace_mask(disc(40, 18, hole=8), 0.5)))
    outer, hole = region
    assert outer[0] == outer[-1]
    assert hole[0] == hole[-1]
    assert shapely.Polygon(hole).area == pytest.approx(np.pi * 64, rel=0.15)


@pytest.mark.parametrize("tolerance", [0.5, 2.0])
def test_no_point_moves_by_more_than_the_tolerance(tolerance: float) -> None:
    (exact,), (simple,) = trace_mask(disc(60, 25), 0), trace_mask(disc(60, 25), tolerance)
    assert len(simple.exterior.coords) < len(exact.exterior.coords) / 2
    assert exact.exterior.hausdorff_distance(simple.exterior) <= tolerance + 1e-9
    assert simple.is_valid


def test_rings_of_touching_corners_and_holes_within_holes_are_apart() -> None:
    class_map = np.zeros((9, 9), np.uint8)
    class_map[1:8, 1:8] = 1
    class_map[2:7, 2:7] = 0
    class_map[3, 3] = class_map[4, 4] = class_map[5, 5] = 1
    outer, *dots = trace_mask(class_map == 1, 0)
    assert (len(outer.interiors), [polygon.area for polygon in dots]) == (1, [0.5, 0.5, 0.5])
    assert shapely.union_all([outer, *dots]).area == pytest.approx(outer.area + 1.5)


@pytest.mark.parametrize("tolerance", [0, 1, 5, 50])
def test_every_polygon_is_valid_however_much_it_is_simplified(tolerance: float) -> None:
    polygons = polygons_of(smooth() // 64, tolerance)
    assert len(polygons) == len(Regions(column_runs(smooth() // 64), CLASSES))
    assert all(polygon.is_valid and not polygon.is_empty for polygon in polygons)


@compares_times
def test_work_grows_with_borders_and_not_with_classes() -> None:
    few = np.zeros((600, 600), np.uint8)
    few[100:500, 100:500] = 1
    many = few * 200
    one = cpu_seconds(lambda: list(trace(few, range(2), 1)))
    all_of_them = cpu_seconds(lambda: list(trace(many, range(256), 1)))
    assert all_of_them < 4 * one  # 128 times, were each class looked for


@compares_times
def test_eight_times_the_holes_are_traced_in_not_many_times_the_time() -> None:
    def dots(side: int) -> Mask:
        mask = np.ones((side, side), bool)
        mask[1::4, 1::4] = False
        return mask

    few, many = dots(100), dots(283)
    assert cpu_seconds(lambda: trace_mask(many, 1)) < 25 * cpu_seconds(lambda: trace_mask(few, 1))  # measured: 8 times; once 60


def test_rings_that_would_cross_are_simplified_with_care_or_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = smooth(13) > 128
    careful = trace_mask(mask, 10)
    monkeypatch.setattr("imaging.polygons.MOST_RINGS", 0)
    as_they_are = trace_mask(mask, 10)
    for polygons in (careful, as_they_are):
        assert all(polygon.is_valid for polygon in polygons)
    points = [sum(shapely.get_num_coordinates(polygons)) for polygons in (careful, as_they_are, trace_mask(mask, 0))]
    assert points[0] < points[1] < points[2]


def answer(class_map: Ids, **parameters: Any) -> dict[str, Any]:
    labels = numbered_labels(["background", "a", "b", "c"])
    image = SegmentedImage(Segmentation(class_map), labels, {}, {})
    document: dict[str, Any] = json.loads(image.encode(Rendering(topology="shared", mask="polygons", **parameters)))
    return document


@settings(max_examples=100, deadline=None)
@given(MAPS, st.sampled_from([0.8, 1.0, 2.0, 6.0]))
def test_simplified_polygons_cover_the_image_without_gaps_and_overlaps(class_map: Ids, tolerance: float) -> None:
    polygons = polygons_of(class_map, tolerance, shared=True)
    assert all(polygon.is_valid and polygon.area > 0 for polygon in polygons)
    assert shapely.coverage_is_valid(polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(class_map.size)
    assert shapely.union_all(polygons).equals(shapely.box(0, 0, *class_map.shape[::-1]))


@pytest.mark.parametrize("tolerance", [1, 4])
def test_polygons_for_themselves_leave_gaps_where_shared_ones_do_not(tolerance: float) -> None:
    class_map = smooth() // 64
    coverage = polygons_of(class_map, tolerance, shared=True)
    assert shapely.coverage_is_valid(coverage)
    assert not shapely.coverage_is_valid(polygons_of(class_map, tolerance))
    exact = polygons_of(class_map, 0, shared=True)
    assert shapely.get_num_coordinates(coverage).sum() < shapely.get_num_coordinates(exact).sum() / 2
    for polygon, region in zip(coverage, exact, strict=True):
        assert abs(polygon.area - region.area) <= max(2 * tolerance**2, 0.3 * region.area)


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
    assert {each.id for each in trace(smooth() // 64, [2, 3], 1, shares_borders=True)} == {2, 3}
    assert list(trace(np.zeros((3, 4), np.uint8), [], 1, shares_borders=True)) == []


def test_more_borders_than_its_limit_are_refused_with_a_way_out() -> None:
    class_map = np.ones((700, 700), np.uint8)
    class_map[1::4, 1::4] = 0
    assert list(trace(class_map, [1], 0))
    with pytest.raises(
        AnswerTooLarge, match=f"122,500 borders.*at most {MOST_SHARED_BORDERS:,}.*topology=shared; leave it out"
    ):
        list(trace(class_map, [1], 0, shares_borders=True))
