"""The page about maps, followed from the scene to the polygons."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from PIL import Image

from docs import scene
from tests.support.checkout import ROOT, run

PAGE = (ROOT / "docs" / "maps.md").read_text()


def test_the_commands_make_a_map_of_the_scene(checkout: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        run(block, checkout)
    check_classes(checkout)
    check_polygons(checkout)
    check_picture(checkout, tmp_path)


def check_classes(folder: Path) -> None:
    with rasterio.open(folder / "meadow.tif") as meadow, rasterio.open(folder / "classes.tif") as classes:
        assert (classes.crs, classes.transform, classes.shape) == (meadow.crs, meadow.transform, meadow.shape)
        assert classes.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        ids, mask = classes.read(1), meadow.dataset_mask() > 0
        cow = next(int(name[6:]) for name, value in classes.tags(1).items() if value == "cow")
    assert ((ids == 255) == ~mask).all()
    labels = {each.get("value"): each.get("label") for each in ElementTree.parse(folder / "classes.qml").iter("paletteEntry")}
    assert labels[str(cow)] == "cow"
    assert (ids[mask] == cow).mean() > 0.1
    left, right = ids[:, : ids.shape[1] // 2], ids[:, ids.shape[1] // 2 :][:, ::-1]
    assert (left == right).mean() > 0.95


def check_polygons(folder: Path) -> None:
    facts, _, geometry, columns = pyogrio.raw.read(folder / "cows.gpkg", layer="objects")
    areas = dict(zip(facts["fields"], columns, strict=True))["area_m2"]
    polygons = [shapely.from_wkb(each) for each in geometry]
    assert len(polygons) >= 2
    assert (areas >= 0.1).all()
    assert sum(each.area for each in polygons) == pytest.approx(areas.sum(), rel=0.02)
    assert sorted(areas)[-2] > 5
    document = json.loads((folder / "cows.geojson").read_text())
    assert len(document["features"]) == len(polygons)
    assert {each["properties"]["class"] for each in document["features"]} == {"cow"}
    assert ElementTree.parse(folder / "cows.qml").find(".//renderer-v2") is not None


def check_picture(folder: Path, place: Path) -> None:
    scene.draw(folder / "meadow.tif", folder / "classes.tif", folder / "cows.gpkg", place)
    with Image.open(place / "maps.jpg") as drawn, Image.open(ROOT / "docs" / "pictures" / "maps.jpg") as shown:
        assert drawn.size == shown.size
        difference = np.abs(np.asarray(drawn).astype(int) - np.asarray(shown))
    assert difference.mean() < 4
