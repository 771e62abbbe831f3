"""A georeferenced TIFF gets answers with its coordinates, made in workers that read nothing but its bytes."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from app.serving.service import Service
from imaging.errors import UnknownImageType
from imaging.rendering import Rendering
from model.inference.plan import Options
from tests.support.app.exchanges import PHOTO, assert_problem, pixels, post
from tests.support.imaging.scenes import UTM, change_table, north_up, scene_file

SIZE = (90, 130)


@pytest.fixture
def scene() -> bytes:
    """The photo of other tests as a scene, without data on its left."""
    mask = np.ones(SIZE, bool)
    mask[:, :20] = False
    return scene_file(pixels(PHOTO), mask=mask)


def test_geotiff(client: TestClient, scene: bytes) -> None:
    response = post(client, scene, format="geotiff")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/tiff"
    with MemoryFile(response.content) as memory, memory.open() as file:
        assert (file.crs, file.transform, file.nodata) == (CRS.from_string(UTM), north_up(), 255)
        ids = file.read(1)
    assert ids.shape == SIZE
    assert (ids[:, :20] == 255).all()
    assert (ids[:, 20:] != 255).all()
    assert np.array_equal(ids[:, 20:], pixels(post(client).content)[:, 20:])


def test_infrared_that_the_file_calls_alpha_is_told(client: TestClient) -> None:
    infrared = np.maximum(pixels(PHOTO)[:, :, :1], 1)
    infrared[:20] = 0
    scene = scene_file(np.dstack([pixels(PHOTO), infrared]))
    remark = post(client, scene, format="geotiff").headers["X-Remark"]
    assert "band 4, which the file calls alpha" in remark
    assert "--bands" not in remark
    lines = client.post("/segment/batch", params={"format": "geojson"}, files=[("file", ("a.tif", scene))]).text.splitlines()
    assert json.loads(lines[0])["remark"] == remark
    assert_problem(post(client, scene), 415, "what it calls opacity is neither none nor full in many pixels")


def test_what_is_wrong_with_a_scene_is_said_in_words_of_http(client: TestClient) -> None:
    empty = scene_file(np.full(SIZE, np.nan, np.float32))
    assert "--scale" not in post(client, empty, format="geotiff").text
    assert_problem(post(client, empty, format="geotiff"), 415, "no scale; give it 8 bits: gdal_translate")
    tiled = scene_file(pixels(PHOTO), tiled=True, blockxsize=16, blockysize=16)
    damaged = change_table(tiled, 324, count=4)
    assert_problem(post(client, damaged, format="geojson"), 422, "need 54 tiles, and it has 4")


def test_geojson(client: TestClient, scene: bytes) -> None:
    response = post(client, scene, format="geojson", classes="0,1,2,3", tolerance=0)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/geo+json"
    document = response.json()
    assert document["features"]
    west, south, east, north = shapely.total_bounds(
        [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in document["features"]]
    )
    assert 8 < west < east < 9
    assert 48 < south < north < 49


def test_files_without_coordinates(client: TestClient) -> None:
    for format in ("geotiff", "geojson"):
        assert_problem(post(client, PHOTO, format=format), 415, "needs a georeferenced TIFF")


def test_without_the_extra(service: Service, scene: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("imaging.georeferenced")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    segmenter = service.registry.get().segmenter
    options: Any = Options(rendering=Rendering("geotiff"))
    for act in (lambda: segmenter.prepare(options), lambda: segmenter.plan(scene, options)):
        with pytest.raises(UnknownImageType, match="needs rasterio, which is not installed here"):
            act()
