"""Polygons with holes as one ring: the same pixels, the same area, short lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from imaging.coco import coco_document, keyhole
from imaging.polygons import trace
from imaging.regions import Regions
from imaging.runs import column_runs
from model.labels import numbered_labels
from tests.support.costs import cpu_seconds

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 2))
Ids = npt.NDArray[np.uint8]


def polygons_of(class_map: Ids, tolerance: float) -> list[shapely.Polygon]:
    """The regions of class 1."""
    return [polygon for _, polygon in trace(class_map, Regions(column_runs(class_map), [1]), tolerance)]


def smooth(seed: int, side: int = 200) -> Ids:
    """Regions of class 1 with many holes, some of them within others."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8))
    return (np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) > 110).astype(np.uint8)


def cup() -> Ids:
    """A disc with two tiny holes."""
    ys, xs = np.mgrid[:120, :120] - 60
    inside = np.hypot(xs, ys) < 50
    inside[40:42, 50:53] = inside[80:83, 66:68] = False
    return inside.astype(np.uint8)


def annotations(class_map: Ids, tolerance: float | None) -> list[dict[str, Any]]:
    labels = numbered_labels(["background", "cup", "plate"]).classes
    entries: list[dict[str, Any]] = coco_document(class_map, labels, range(256), "a", tolerance)["annotations"]
    return entries


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_the_ring_has_the_pixels_of_the_region_to_pycocotools(class_map: Ids) -> None:
    for exact, outline in zip(annotations(class_map, None), annotations(class_map, 0), strict=True):
        (ring,) = outline["segmentation"]
        (code,) = coco.frPyObjects([ring], *class_map.shape)
        np.testing.assert_array_equal(coco.decode(code), coco.decode(exact["segmentation"]))


@pytest.mark.parametrize("tolerance", [0, 0.5, 2, 8])
@pytest.mark.parametrize("seed", range(6))
def test_the_ring_has_the_area_of_the_polygon_and_no_other_corners_than_turns(seed: int, tolerance: float) -> None:
    for polygon in polygons_of(smooth(seed), tolerance):
        ring = keyhole(polygon)
        assert shapely.Polygon(ring).area == pytest.approx(polygon.area)
        corners = {tuple(corner) for corner in shapely.get_coordinates(polygon).tolist()}
        others = [corner for corner in map(tuple, ring.tolist()) if corner not in corners]
        assert len(others) <= 2 * len(polygon.interiors)
        assert all(shapely.Point(corner).distance(polygon.boundary) < 1e-9 for corner in others)


def test_a_line_to_a_hole_runs_inside_the_polygon() -> None:
    for polygon in polygons_of(smooth(1), 1):
        ring = keyhole(polygon)
        edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, 0)], 1))
        assert shapely.covers(polygon.buffer(1e-9), edges).all()


def test_pillow_leaves_the_holes_empty() -> None:
    class_map = cup()
    class_map[30:60, 60:90] = 0
    canvas = Image.new("1", (120, 120))
    ImageDraw.Draw(canvas).polygon(list(map(tuple, keyhole(polygons_of(class_map, 1)[0]).tolist())), fill=1)
    pixels = np.asarray(canvas)
    assert pixels[32:58, 63:88].sum() == 0
    assert (pixels == class_map).mean() > 0.95


def test_holes_that_touch_each_other_and_the_outer_ring_count_once() -> None:
    outer = [(0, 0), (10, 0), (10, 10), (0, 10)]
    holes = [[(0, 5), (2, 6), (2, 4)], [(2, 6), (4, 7), (4, 6)], [(4, 2), (6, 2), (5, 1)], [(4, 2), (5, 3), (6, 3)]]
    polygon = shapely.Polygon(outer, holes)
    assert polygon.is_valid
    assert shapely.Polygon(keyhole(polygon)).area == pytest.approx(polygon.area)


def test_eight_times_the_holes_do_not_take_many_times_as_long() -> None:
    def with_holes(side: int) -> shapely.Polygon:
        class_map = np.ones((side, side), np.uint8)
        class_map[1:-1:4, 1:-1:4] = 0
        return polygons_of(class_map, 0)[0]

    few, many = with_holes(100), with_holes(283)
    assert cpu_seconds(lambda: keyhole(many)) < 25 * cpu_seconds(lambda: keyhole(few))
