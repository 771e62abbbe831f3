"""Polygons of many regions and rings cost little more in coordinates than as COCO, and each long step can be ended."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from common.arrays import Pixels
from imaging.answer import SegmentedImage
from imaging.georeferenced import place as module
from imaging.georeferenced.answer import encode_scene
from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.geojson import PolygonFacts, feature_collection, write_geojson
from imaging.georeferenced.layers import layer_polygons, write_geopackage
from imaging.georeferenced.place import Place
from imaging.rendering import Rendering
from tests.support.costs import compares_times, cpu_seconds
from tests.support.imaging.scenes import LABELS, UTM, north_up, segmented
from tests.support.variants import long

SIDE = 120
DOTS = np.tile(np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.uint8), (SIDE // 4, SIDE // 4))
MAPS = {"regions": DOTS, "holes": 1 - DOTS}
PLACES = {
    "metres": (UTM, north_up()),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 50)),
    "bent": ("ESRI:102008", Affine(20_000, 0, -2e6, 0, -20_000, 2e6)),
    "antimeridian": ("EPSG:4326", Affine(0.01, 0, 178.995, 0, -0.01, 10)),
    "pole": ("EPSG:3031", Affine(1000, 0, -103_300, 0, -1000, 95_400)),
}


def place(name: str) -> Place:
    crs, transform = PLACES[name]
    return Place((SIDE, SIDE), transform, CRS.from_user_input(crs))


def coco_seconds(image: SegmentedImage) -> float:
    return cpu_seconds(lambda: image.encode(Rendering("coco", mask="polygons")))


@compares_times
@pytest.mark.parametrize("name", ["metres", "pole", *long(*sorted(set(PLACES) - {"metres", "pole"}))])
@pytest.mark.parametrize("rings", MAPS)
def test_geojson_costs_at_most_some_coco(rings: str, name: str) -> None:
    # one polygon of all rings, which GEOS cuts and unites
    image, most = segmented(MAPS[rings]), 8 if rings == "holes" and name in ("pole", "antimeridian") else 4
    geojson = cpu_seconds(lambda: encode_scene(image, place(name), Rendering("geojson")))
    assert geojson < most * coco_seconds(image)


@compares_times
@pytest.mark.parametrize("rings", MAPS)
@pytest.mark.parametrize("tolerance", [0.0, *long(0.5)])
def test_layers_cost_at_most_some_coco(rings: str, tolerance: float, tmp_path: Path) -> None:
    """Those of the command line, with the search for their objects."""
    image, where, numbers = segmented(MAPS[rings]), place("metres"), itertools.count()
    coco = coco_seconds(image)

    def polygons() -> Iterator[PolygonFacts]:
        rows = [(0, image.result.class_map, image.result.confidence)]
        return layer_polygons(rows, where, {label.id: label.name for label in LABELS.classes[1:]}, tolerance=tolerance)

    def geopackage() -> None:
        write_geopackage(tmp_path / f"{next(numbers)}.gpkg", polygons(), where, "objects", {})

    assert cpu_seconds(lambda: write_geojson(io.StringIO(), polygons(), where)) < 3 * coco
    assert cpu_seconds(geopackage) < 4 * coco


def test_the_number_of_transforms_does_not_grow_with_the_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    def transforms(class_map: Pixels) -> int:
        calls.clear()
        encode_scene(segmented(class_map), place("metres"), Rendering("geojson"))
        return len(calls)

    calls: list[int] = []
    original = module.change_system
    monkeypatch.setattr(module, "change_system", lambda *args: calls.append(1) or original(*args))
    one = np.zeros_like(DOTS)
    one[1, 1:3] = 1
    assert transforms(DOTS) == transforms(1 - DOTS) == transforms(one)


def test_corners_off_the_earth_are_not_sought_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Place(
        (SIDE, SIDE), north_up(55_000, (-5_500_000, 5_500_000)), CRS.from_string("+proj=geos +h=35785831 +datum=WGS84")
    )
    space = shapely.segmentize(shapely.box(0, 0, SIDE, 5), 0.1)
    calls: list[int] = []
    original = module.change_system
    monkeypatch.setattr(module, "change_system", lambda *args: calls.append(1) or original(*args))
    feature_collection([], disk)
    before = len(calls)
    with pytest.raises(SceneError, match="a corner that has no longitude and latitude"):
        feature_collection([(space, {})], disk)
    assert len(calls) <= 2 * before + 1


def test_holes_stay_in_a_ring_with_most_of_its_corners_far_from_them() -> None:
    world = Place((180, 360), Affine(1, 0, -180, 0, -1, 90), CRS.from_epsg(4326))
    steps = np.arange(0.0, 90)  # a side of many corners in the west
    west = np.column_stack([20 + steps % 2, 10 + steps])
    ring = shapely.Polygon([*west, (350, 170), (350, 5)], [shapely.box(330, 80, 340, 90).exterior])
    (feature,) = feature_collection([(ring, {})], world)["features"]
    polygon = shapely.geometry.shape(feature["geometry"])
    assert polygon.is_valid
    assert polygon.interiors[0].bounds == (150, 0, 160, 10)
