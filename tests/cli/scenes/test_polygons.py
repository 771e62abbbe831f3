"""`-o out.geojson` and `-o out.gpkg`: the objects of the raster, with class, area and confidence, in their coordinates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

from imaging.regions import Regions
from imaging.runs import column_runs
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import UTM, write_scene

PHOTO = make_photo(430, 310)
TILE = ("--tile", "128")
EVERY = ("--classes", "0,1,2,3")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    mask = np.ones((430, 310), bool)
    mask[:40] = False
    return write_scene(tmp_path_factory.mktemp("scene") / "a.tif", PHOTO, mask=mask)


def layer(path: Path) -> tuple[dict[str, Any], list[shapely.Polygon], dict[str, Any]]:
    facts, _, geometry, columns = pyogrio.raw.read(path)
    return facts, [shapely.from_wkb(each) for each in geometry], dict(zip(facts["fields"], columns, strict=True))


def test_the_polygons_are_the_regions_of_the_raster_and_their_hectares_are_told(
    run: Segment, scene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scene, "-o", tmp_path / "a.tif", *TILE) == 0
    assert run(scene, "-o", tmp_path / "a.gpkg", *TILE, *EVERY) == 0
    with rasterio.open(tmp_path / "a.tif") as file:
        ids, transform = file.read(1), file.transform
    facts, polygons, columns = layer(tmp_path / "a.gpkg")
    assert (facts["crs"], facts["geometry_type"]) == (UTM, "Polygon")
    raster = rasterize(zip(polygons, columns["class_id"].tolist(), strict=True), ids.shape, fill=255, transform=transform)
    assert (raster == ids).all()
    assert sorted(columns["class_id"].tolist()) == Regions(column_runs(ids), range(4)).ids
    for id in range(4):
        area = columns["area_m2"][columns["class_id"] == id].sum()
        assert area == pytest.approx((ids == id).sum() * 0.25, rel=2e-3)  # on the ground, not in the projection
        assert sum(p.area for p, i in zip(polygons, columns["class_id"], strict=True) if i == id) == (ids == id).sum() * 0.25
    assert ((columns["confidence"] > 0.2) & (columns["confidence"] <= 1)).all()
    assert all(map(shapely.is_valid, polygons))
    assert pyogrio.read_info(tmp_path / "a.gpkg")["layer_metadata"]["fcn_bands"] == "1, 2, 3"
    hectares = {name: columns["area_m2"][columns["class"] == name].sum() / 1e4 for name in set(columns["class"].tolist())}
    words = ", ".join(f"{name} {area:.3g}" for name, area in sorted(hectares.items(), key=lambda pair: -pair[1]))
    assert capsys.readouterr().err.strip().endswith(f"hectares by class: {words}; without data 0.31")


def test_geojson_has_the_same_objects_in_degrees(run: Segment, scene: str, tmp_path: Path) -> None:
    assert run(scene, "-o", tmp_path / "a.gpkg", *TILE) == 0
    assert run(scene, "-o", tmp_path / "a.geojson", *TILE) == 0
    document = json.loads((tmp_path / "a.geojson").read_text())
    _, polygons, columns = layer(tmp_path / "a.gpkg")
    assert [each["properties"]["area_m2"] for each in document["features"]] == columns["area_m2"].tolist()
    assert "background" not in {each["properties"]["class"] for each in document["features"]}
    assert pyogrio.read_info(tmp_path / "a.geojson")["crs"] == "EPSG:4326"
    assert len(document["features"]) == len(polygons) > 3
    for each in document["features"]:
        for longitude, latitude in each["geometry"]["coordinates"][0]:
            assert 8.28 < longitude < 8.31
            assert 48.84 < latitude < 48.87


@pytest.mark.parametrize("topology", [[], ["--topology", "shared"]])
@pytest.mark.parametrize("tolerance", [[], ["--tolerance", "1.5"]])
def test_polygons_are_simplified_in_map_units(
    run: Segment, scene: str, tmp_path: Path, topology: list[str], tolerance: list[str]
) -> None:
    assert run(scene, "-o", tmp_path / "exact.gpkg", *TILE, *EVERY) == 0
    assert run(scene, "-o", tmp_path / "a.gpkg", *TILE, *EVERY, *topology, *tolerance) == 0
    _, exact, _ = layer(tmp_path / "exact.gpkg")
    _, polygons, _ = layer(tmp_path / "a.gpkg")
    assert len(polygons) == len(exact)
    assert all(map(shapely.is_valid, polygons))
    if topology:
        assert shapely.coverage_is_valid(polygons)
    corners = [sum(map(shapely.get_num_coordinates, each)) for each in (polygons, exact)]
    assert corners[0] < 0.7 * corners[1] if tolerance else corners[0] >= corners[1]
    if tolerance and not topology:
        outer = [[shapely.get_exterior_ring(each) for each in group] for group in (polygons, exact)]
        assert max(map(shapely.hausdorff_distance, *outer)) <= 1.5 + 1e-6


def test_small_objects_are_left_out_by_their_ground_and_all_make_an_empty_layer(
    run: Segment, scene: str, tmp_path: Path
) -> None:
    assert run(scene, "-o", tmp_path / "all.gpkg", *TILE) == 0
    assert run(scene, "-o", tmp_path / "large.gpkg", *TILE, "--min-area", "200m2") == 0
    _, _, every = layer(tmp_path / "all.gpkg")
    _, _, large = layer(tmp_path / "large.gpkg")
    assert large["area_m2"].tolist() == [area for area in every["area_m2"].tolist() if area >= 200]
    assert len(large["area_m2"]) < len(every["area_m2"])
    for ending in ("gpkg", "geojson"):
        assert run(scene, "-o", tmp_path / f"a.{ending}", *TILE, "--min-area", "9999999m2") == 0
        assert pyogrio.read_info(tmp_path / f"a.{ending}")["features"] == 0
