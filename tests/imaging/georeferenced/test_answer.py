"""A segmented scene becomes a GeoTIFF, GeoJSON or layer with its coordinates, as rasterio and shapely read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform

from imaging.georeferenced.answer import encode_scene
from imaging.georeferenced.layers import layer_polygons
from imaging.georeferenced.place import Place
from imaging.rendering import Rendering
from tests.support.imaging.scenes import LABELS, UTM, north_up, segmented

SIZE = (60, 80)
PLACE = Place(SIZE, north_up(), CRS.from_string(UTM))
CLASS_MAP = np.zeros(SIZE, np.uint8)  # a house of 20x10 pixels, a tree of 30x30, and void at the right edge
CLASS_MAP[10:30, 5:15] = 1
CLASS_MAP[20:50, 40:70] = 2
CLASS_MAP[:, 78:] = 255


def test_a_geotiff_has_the_ids_and_the_place(tmp_path: Any) -> None:
    image = segmented(CLASS_MAP)
    data = encode_scene(image, PLACE, Rendering("geotiff"))
    with MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
        assert np.array_equal(file.read(1), image.result.class_map)
        assert (file.crs, file.transform, file.nodata) == (CRS.from_string(UTM), north_up(), 255)
        assert file.colormap(1)[1][:3] == LABELS.palette[1]
        assert file.tags(1)["CLASS_2"] == "tree"
        assert file.tags()["FCN_MODEL"] == "narrow"
    assert encode_scene(image, PLACE, Rendering("geotiff")) == data


def test_geojson_has_polygons_in_degrees() -> None:
    document = json.loads(encode_scene(segmented(CLASS_MAP), PLACE, Rendering("geojson", tolerance=0, topology="shared")))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document  # RFC 7946 knows one system
    houses, trees = document["features"]
    assert houses["properties"] == {
        "class": "house",
        "class_id": 1,
        "area_m2": houses["properties"]["area_m2"],
        "confidence": 0.7843,
    }
    assert houses["properties"]["area_m2"] == pytest.approx(20 * 10 * 0.25, rel=2e-3)  # UTM stretches by 0.04 %
    assert trees["properties"]["area_m2"] == pytest.approx(30 * 30 * 0.25, rel=2e-3)
    polygon = shapely.from_geojson(json.dumps(houses["geometry"]))
    x, y = transform("EPSG:4326", UTM, *shapely.get_coordinates(polygon).T)
    left, top = north_up() @ (5, 10)
    right, bottom = north_up() @ (15, 30)
    assert (min(x), max(x), min(y), max(y)) == pytest.approx((left, right, bottom, top), abs=0.01)
    assert polygon.exterior.is_ccw


def test_without_confidence_it_is_null() -> None:
    document = json.loads(encode_scene(segmented(CLASS_MAP, None), PLACE, Rendering("geojson")))
    assert all(feature["properties"]["confidence"] is None for feature in document["features"])


def test_classes_and_uncertain_pixels() -> None:
    def classes(rendering: Rendering) -> list[str]:
        document = json.loads(encode_scene(segmented(CLASS_MAP).shown(rendering), PLACE, rendering))
        return [feature["properties"]["class"] for feature in document["features"]]

    assert classes(Rendering("geojson", classes=("tree",))) == ["tree"]
    assert "background" in classes(Rendering("geojson", classes=("background",)))
    assert classes(Rendering("geojson", min_confidence=0.9)) == []
    rendering = Rendering("geotiff", min_confidence=0.9)
    with MemoryFile(encode_scene(segmented(CLASS_MAP).shown(rendering), PLACE, rendering)) as memory:
        assert (memory.open().read(1) == 255).all()


@pytest.mark.parametrize("tolerance", [0.1, 0.2])
def test_no_outer_ring_moves_by_more_than_the_tolerance(tolerance: float) -> None:
    """Also where a ring begins, and where it would cross itself."""
    noise = (np.random.default_rng(0).random((40, 60)) * 255).astype(np.uint8)
    ids = np.asarray(Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC)) // 64
    where, names = Place((200, 300), north_up(0.05), CRS.from_string(UTM)), {id: str(id) for id in range(4)}
    exact, simple = (
        shapely.transform(
            [polygon for polygon, _ in layer_polygons([(0, ids, None)], where, names, tolerance=most)], where.to_map
        )
        for most in (0, tolerance)
    )
    assert shapely.is_valid(simple).all()
    assert shapely.get_num_coordinates(simple).sum() < 0.6 * shapely.get_num_coordinates(exact).sum()
    assert shapely.get_num_interior_rings(simple).sum() < shapely.get_num_interior_rings(exact).sum()
    distances = shapely.hausdorff_distance(*map(shapely.get_exterior_ring, (exact, simple)))
    assert distances.max() <= tolerance + 1e-6
