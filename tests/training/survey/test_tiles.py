"""Tiles of scenes are cut by `fcn-import`: what comes from the cutting is no remark, and a slip of the polygons still is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.images import make_photo
from tests.support.training.maps import square, write_features, write_scene
from training.commands.import_labels import main
from training.data.label_files import find_labels
from training.data.split import get_split
from training.survey.inspection import pair_errors, pair_notes
from training.survey.records import survey_all

TILE, TILES = 352, 4
HOUSES = [(x, y) for x in range(60, TILES * TILE, 176) for y in range(30 + x % 29, TILES * TILE, 176)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Houses on a field, a rest of 32 pixels at the right and below, no data at the lower left, and two equal parts of sea."""
    side = TILES * TILE + 32
    pixels = np.maximum(make_photo(side, side) // 8 + 90, 1)
    pixels[:, 2 * TILE + 2 :] //= 2
    for x, y in HOUSES:
        pixels[y : y + 60, x : x + 60] = 250, 20, 20
    pixels[: 2 * TILE, 3 * TILE : 4 * TILE] = 10, 20, 90
    pixels[3 * TILE + 100 :, : 2 * TILE] = 0
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", pixels, nodata=0)


def notes(scene: Path, data: Path, speck: bool = False, offset: int = 0) -> list[str]:
    """The errors and remarks on tiles. speck: whether a pond of one pixel is drawn. offset: of the houses, in pixels."""
    houses = [(x, y) for x, y in HOUSES if y >= 2 * TILE or not 3 * TILE - 60 < x < 4 * TILE]
    shapes = [square(-5, -5, 2 * TILE + 7, TILE * TILES), square(3 * TILE, 0, TILE, 2 * TILE)]
    shapes += [square(x + offset, y + offset // 2, 60) for x, y in houses]
    values = ["field", "sea", *["house"] * len(houses)]
    if speck:
        shapes.append(square(2 * TILE + 150, 50, 1))
        values.append("pond")
    labels = write_features(data.parent / "labels.gpkg", shapes, values)
    extent = write_features(data.parent / "extent.gpkg", [square(0, 0, 4 * TILE + 32, 3 * TILE + 200)], [1], field="id")
    names = ["--raster", scene, "--vector", labels, "--field", "class", "--extent", extent, "--out", data, "--tile", TILE]
    assert main([*map(str, names), "--block", "1"]) == 0
    return told(data)


def told(data: Path) -> list[str]:
    labels = find_labels(None, data)
    surveys = survey_all([get_split(data, name, labels) for name in ("train", "val")], details=True, file=data / "survey.json")
    lines = [*map(str, pair_errors(*surveys)), *pair_notes(*surveys)]
    return [line for line in lines if "never shown" not in line and "fewer than 3" not in line]


def test_what_comes_from_the_cutting_is_no_remark_but_a_tile_in_both_splits_is_an_error(scene: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert notes(scene, data) == []
    for part in ("images", "masks"):
        path = min((data / part / "val").iterdir())
        shutil.copyfile(path, data / part / "train" / path.name)
    assert "1 of 4 frames of 'val' are in 'train' too" in told(data)[0]


def test_a_speck_inside_a_tile_and_polygons_beside_the_scene_are_remarks(scene: Path, tmp_path: Path) -> None:
    lines = [line.replace(f"{tmp_path}/data/masks/", "") for line in notes(scene, tmp_path / "data", speck=True, offset=40)]
    assert any("by a speck alone, as by a slip: train/scene_r000_c002.png (pond, 1 pixels)" in line for line in lines)
    assert any("would fit their tile better elsewhere, as if the polygons lay beside the scene" in line for line in lines)
