"""Objects of a class map that comes in pieces: each region once, its pixels exactly, valid, borders shared."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from common.arrays import Ids
from imaging import objects as module
from imaging.objects import MapObject, ObjectFinder
from imaging.regions import Regions
from imaging.runs import column_runs

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 1, 2, 255]))
CLASSES = (0, 1, 2)


def find(
    ids: Ids, rows: int, class_ids: tuple[int, ...] = CLASSES, *, nodes: bool = False, confidence: Ids | None = None
) -> list[MapObject]:
    finder, objects = ObjectFinder(ids.shape[1], class_ids, with_nodes=nodes), []
    for top in range(0, len(ids), rows):
        part = ids[top : top + rows]
        sure = np.zeros_like(part) if confidence is None else confidence[top : top + rows]
        objects += finder.add(part, np.full((len(part), 1), 0.25), sure)
    return objects + list(finder.finish())


def drawn(objects: list[MapObject], shape: tuple[int, ...]) -> Ids:
    """The class map that has each pixel whose middle lies in a polygon."""
    result = np.full(shape, 255, np.uint8)
    rows, columns = np.indices(shape)
    for each in objects:
        inside = shapely.contains_xy(each.polygon, columns + 0.5, rows + 0.5)
        assert (result[inside] == 255).all()
        assert inside.sum() == each.pixels
        result[inside] = each.id
    return result


@settings(max_examples=150, deadline=None)
@given(MAPS, st.integers(1, 5), st.booleans())
def test_every_region_is_one_valid_polygon_of_its_pixels(ids: Ids, rows: int, nodes: bool) -> None:
    objects = find(ids, rows, nodes=nodes)
    assert (drawn(objects, ids.shape) == ids).all()
    assert sorted(each.id for each in objects) == Regions(column_runs(ids), CLASSES).ids
    for each in objects:
        assert each.polygon.is_valid, shapely.is_valid_reason(each.polygon)
        assert each.polygon.area == each.pixels == each.square_metres * 4
    if nodes and objects:
        assert shapely.coverage_is_valid([each.polygon for each in objects])


@settings(max_examples=50, deadline=None)
@given(MAPS)
def test_pieces_of_any_height_give_the_same_polygons(ids: Ids) -> None:
    whole = {each.polygon.wkt: each for each in find(ids, len(ids), nodes=True)}
    for rows in (1, 3):
        parts = {each.polygon.wkt: each for each in find(ids, rows, nodes=True)}
        assert parts.keys() == whole.keys()
        assert all(parts[key].pixels == whole[key].pixels for key in whole)


def test_confidence_is_the_mean_over_all_pieces() -> None:
    ids = np.zeros((6, 4), np.uint8)
    sure = np.arange(24, dtype=np.uint8).reshape(6, 4)
    (each,) = find(ids, 4, confidence=sure)
    assert each.confidence == pytest.approx(sure.mean() / 255)


def test_a_wide_map_is_done_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(1).choice(np.array([0, 1], np.uint8), (40, 60), p=[0.7, 0.3])
    expected = sorted(each.polygon.wkt for each in find(ids, 40))
    monkeypatch.setattr(module, "STEP_PIXELS", 100)
    assert sorted(each.polygon.wkt for each in find(ids, 40)) == expected


def test_what_is_finished_is_forgotten() -> None:
    finder, count = ObjectFinder(64, (1,)), 0
    row = np.tile(np.array([0, 1], np.uint8), 32)[None]
    for top in range(200):
        ids = row if top % 2 else np.zeros_like(row)
        count += sum(1 for _ in finder.add(ids, np.ones((1, 1))))
    assert count == 99 * 32
