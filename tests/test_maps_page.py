"""The page about maps, followed from the scene to the polygons, and from labels to a network of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
from PIL import Image

from docs import orthophoto, scene
from model.weights_file import load_weights
from tests.support.checkout import ROOT, run
from tests.support.pages import blocks

PAGE = (ROOT / "docs" / "maps.md").read_text()
DEFAULT_NETWORK, OWN_CLASSES = PAGE.split("## Your own classes")


@pytest.mark.long
def test_the_commands_make_a_map_of_the_scene(checkout: Path, tmp_path: Path) -> None:
    for block in blocks(DEFAULT_NETWORK):
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
    facts, _, _, columns = pyogrio.raw.read(folder / "cows.gpkg", layer="objects")
    areas = dict(zip(facts["fields"], columns, strict=True))["area_m2"]
    assert (areas >= 0.1).all()
    assert sorted(areas)[-2] > 5
    document = json.loads((folder / "cows.geojson").read_text())
    assert len(document["features"]) == len(areas)
    assert {each["properties"]["class"] for each in document["features"]} == {"cow"}
    assert ElementTree.parse(folder / "cows.qml").find(".//renderer-v2") is not None


def check_picture(folder: Path, place: Path) -> None:
    scene.draw(folder / "meadow.tif", folder / "classes.tif", folder / "cows.gpkg", place)
    with Image.open(place / "maps.jpg") as drawn, Image.open(ROOT / "docs" / "pictures" / "maps.jpg") as shown:
        assert drawn.size == shown.size
        difference = np.abs(np.asarray(drawn).astype(int) - np.asarray(shown))
    assert difference.mean() < 4


@pytest.mark.long
@pytest.mark.torch
def test_a_network_of_one_s_own_makes_a_map(checkout: Path, tmp_path: Path) -> None:
    for block in blocks(OWN_CLASSES):
        run(block, checkout)
    check_tiles(checkout / "crowns")
    manifest = load_weights(checkout / "runs/crowns/crowns.safetensors").manifest
    assert manifest.labels.names == ["background", "crown", "shadow"]
    assert manifest.preprocessing.gsd == pytest.approx(0.05, rel=1e-2)
    (score,) = manifest.scores.values()
    assert score["mean_iou"] > 0.5
    with rasterio.open(checkout / "ground.tif") as ground:
        assert 0.1 < (ground.read(1)[:, 300:] == 1).mean() < 0.7  # where nothing was labelled
    orthophoto.draw(checkout / "ground.tif", checkout / "crowns.gpkg", tmp_path)
    with Image.open(tmp_path / "orthophoto.jpg") as drawn, Image.open(ROOT / "docs/pictures/orthophoto.jpg") as shown:
        assert drawn.size == shown.size
        difference = np.abs(np.asarray(drawn).astype(int) - np.asarray(shown)).mean((0, 2))
    assert difference[: orthophoto.SIDE].mean() < 4  # scene and labels; a training elsewhere has other borders
    assert difference.mean() < 20


def check_tiles(folder: Path) -> None:
    tiles = json.loads((folder / "tiles.geojson").read_text())
    splits = [feature["properties"]["split"] for feature in tiles["features"]]
    assert f"writes {splits.count('train')} tiles to train on and {splits.count('val')} to score on" in OWN_CLASSES
    shares = np.zeros(256, int)
    for path in (folder / "masks").glob("*/*.png"):
        with Image.open(path) as mask:
            shares += np.bincount(np.asarray(mask).ravel(), minlength=256)
    background, crown, shadow = shares[:3] / shares[:3].sum()
    assert (background, crown, shadow) == pytest.approx((0.61, 0.27, 0.12), abs=0.03)
    labels = json.loads(orthophoto.LABELS.read_text())["features"]
    counts = [sum(feature["properties"]["class"] == name for feature in labels) for name in ("crown", "shadow")]
    assert "has {} polygons of tree crowns and {} of shadows".format(*counts) in OWN_CLASSES
