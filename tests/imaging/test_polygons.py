"""Polygons: where their borders run, what simplification may move, and holes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from imaging.polygons import to_lists, trace
from imaging.regions import Regions
from imaging.runs import column_runs
from tests.support.costs import cpu_seconds

Mask = npt.NDArray[np.bool_]
MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.booleans())


def trace_regions(
    class_map: npt.NDArray[np.uint8], ids: Iterable[int], tolerance: float
) -> Iterator[tuple[int, shapely.Polygon]]:
    return trace(class_map, Regions(column_runs(class_map), ids), tolerance)


def trace_mask(mask: Mask, tolerance: float) -> list[shapely.Polygon]:
    """The regions of a mask."""
    return [polygon for _, polygon in trace_regions(mask.astype(np.uint8), [1], tolerance)]


def fill(polygons: list[shapely.Polygon], shape: tuple[int, ...]) -> Mask:
    """The pixels whose middle is inside."""
    ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside: Mask = shapely.contains_xy(shapely.union_all(polygons), xs, ys)
    return inside


def disc(side: int, radius: float, hole: float = 0) -> Mask:
    ys, xs = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.hypot(xs, ys)
    return (distance <= radius) & (distance >= hole)


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_without_simplification_the_pixels_inside_are_the_masks(mask: Mask) -> None:
    np.testing.assert_array_equal(fill(trace_mask(mask, 0), mask.shape), mask)


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


def test_one_pass_gives_the_polygons_of_all_classes() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        class_map = rng.integers(0, 4, rng.integers(1, 16, 2)).astype(np.uint8)
        together = list(trace_regions(class_map, [2, 0, 3], 0))
        assert [id for id, _ in together] == sorted(id for id, _ in together)
        for class_id in (0, 2, 3):
            polygons = [polygon for id, polygon in together if id == class_id]
            assert len(polygons) == len(Regions(column_runs(class_map), [class_id]))
            np.testing.assert_array_equal(fill(polygons, class_map.shape), class_map == class_id)


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
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (30, 30), np.uint8)).resize((240, 240))
    class_map = (np.asarray(coarse) // 64).astype(np.uint8)
    polygons = [polygon for _, polygon in trace_regions(class_map, range(4), tolerance)]
    assert len(polygons) == len(Regions(column_runs(class_map), range(4)))
    assert all(polygon.is_valid and not polygon.is_empty for polygon in polygons)


def test_work_grows_with_borders_and_not_with_classes() -> None:
    few = np.zeros((600, 600), np.uint8)
    few[100:500, 100:500] = 1
    many = few * 200
    one = cpu_seconds(lambda: list(trace_regions(few, range(2), 1)))
    all_of_them = cpu_seconds(lambda: list(trace_regions(many, range(256), 1)))
    assert all_of_them < 4 * one  # 128 times, were each class looked for


def test_eight_times_the_holes_are_traced_in_not_many_times_the_time() -> None:
    def dots(side: int) -> Mask:
        mask = np.ones((side, side), bool)
        mask[1::4, 1::4] = False
        return mask

    few, many = dots(100), dots(283)
    assert cpu_seconds(lambda: trace_mask(many, 1)) < 25 * cpu_seconds(lambda: trace_mask(few, 1))  # measured: 8 times; once 60


def test_rings_that_would_cross_are_simplified_with_care_or_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = Image.fromarray(np.random.default_rng(10).integers(0, 256, (20, 20), np.uint8)).resize((160, 160))
    mask = np.asarray(coarse) > 128
    careful = trace_mask(mask, 10)
    monkeypatch.setattr("imaging.polygons.MOST_RINGS", 0)
    as_they_are = trace_mask(mask, 10)
    for polygons in (careful, as_they_are):
        assert all(polygon.is_valid for polygon in polygons)
    points = [sum(shapely.get_num_coordinates(polygons)) for polygons in (careful, as_they_are, trace_mask(mask, 0))]
    assert points[0] < points[1] < points[2]
