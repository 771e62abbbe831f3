"""`--gsd` scales scenes to metres of a pixel before they are cut, as `fcn-segment --gsd` shows them to a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio import Affine
from rasterio.warp import transform

from cli.main import main as segment
from imaging.georeferenced.bands import choose_bands
from imaging.georeferenced.place import Place, metres_per_pixel
from imaging.georeferenced.rows import SceneSource
from imaging.georeferenced.scene import open_scene
from imaging.georeferenced.vectors import System
from model.weights_file import load_weights
from tests.support.images import make_photo
from tests.support.training.map_tiles import whole
from tests.support.training.maps import CORNER, UTM, ImportMaps, photo_scene, write_features, write_scene
from tests.support.training.runs import TINY_RECIPE
from training.commands.train import main as train
from training.data.map_files import read_gsd

PLACES = {
    "metres": (UTM, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])),
    "wide pixels": (UTM, Affine(1.0, 0, CORNER[0], 0, -0.5, CORNER[1])),
    "turned": (UTM, Affine.translation(*CORNER) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)),
    "degrees": ("EPSG:4326", Affine(9e-6, 0, 15.0, 0, -5e-6, 52.3)),
    "feet": ("EPSG:2263", Affine(1.5, 0, 980_000, 0, -1.5, 200_000)),
}
SIZE = 200, 240


def facts_of(out: Path) -> dict[str, Any]:
    (facts,) = json.loads((out / "tiles.geojson").read_text())["scenes"]
    return dict(facts)


def on_ground(crs: str, place: Affine, corners: list[tuple[float, float]]) -> shapely.Polygon:
    """A polygon in longitude and latitude, by corners in pixels of a scene."""
    x, y = zip(*(place @ corner for corner in corners), strict=True)
    return shapely.Polygon(np.column_stack(transform(crs, "OGC:CRS84", x, y)))


@pytest.mark.parametrize(("kind", "gsd"), [*zip(PLACES, (0.3, 0.9, 0.9, 0.3, 0.9), strict=True)])
def test_tiles_have_pixels_of_so_many_metres(import_maps: ImportMaps, tmp_path: Path, kind: str, gsd: float) -> None:
    crs, place = PLACES[kind]
    scene = write_scene(tmp_path / "scene.tif", make_photo(*SIZE), crs, place)
    shapes = [on_ground(crs, place, [(0, 0), (240, 0), (240, 200), (0, 200)])]
    shapes.append(on_ground(crs, place, [(60, 50), (180, 50), (180, 150), (60, 150)]))
    labels = write_features(tmp_path / "labels.gpkg", shapes, ["field", "house"], "EPSG:4326")
    told = import_maps(scene, labels, "--split", "train", "--gsd", gsd)
    facts = facts_of(tmp_path / "data")
    size = facts["height"], facts["width"]
    assert facts["pixel_m"] == pytest.approx([gsd, gsd], rel=0.01)
    scaled = Place(size, Affine(*facts["transform"]), System.from_user_input(facts["crs"]))
    assert metres_per_pixel(scaled) == pytest.approx((gsd, gsd), rel=0.01)
    assert f"240x200 pixels in {facts['crs']}, bands 1, 2, 3, scaled to {size[1]}x{size[0]}, " in told
    mask = whole(tmp_path / "data")
    rows, columns = np.nonzero(mask == 2)
    edges = rows.min() / size[0], (rows.max() + 1) / size[0], columns.min() / size[1], (columns.max() + 1) / size[1]
    assert edges == pytest.approx((0.25, 0.75, 0.25, 0.75), abs=0.02)


def test_images_are_what_a_network_sees_with_the_same_gsd(import_maps: ImportMaps, tmp_path: Path) -> None:
    crs, place = PLACES["metres"]
    scene_file = photo_scene(tmp_path / "scene.tif", *SIZE, place)
    labels = write_features(
        tmp_path / "labels.gpkg", [on_ground(crs, place, [(0, 0), (240, 0), (240, 200), (0, 200)])], ["field"], "EPSG:4326"
    )
    import_maps(scene_file, labels, "--gsd", "0.7", "--split", "train")
    image = whole(tmp_path / "data", "images")
    with open_scene(str(scene_file)) as scene:
        source = SceneSource(scene, choose_bands(scene), image.shape[:2])
        seen = np.concatenate([part.pixels for part in source.working(0)])
    cut = np.s_[: image.shape[0] // 64 * 64, : image.shape[1] // 64 * 64]  # narrow tiles at the edges are left out
    assert (image[cut] == seen[cut]).all()


def test_pixels_of_different_sizes_are_told(import_maps: ImportMaps, tmp_path: Path) -> None:
    crs, place = PLACES["wide pixels"]
    scene = write_scene(tmp_path / "scene.tif", make_photo(*SIZE), crs, place)
    labels = write_features(
        tmp_path / "labels.gpkg", [on_ground(crs, place, [(5, 5), (50, 5), (50, 50), (5, 50)])], ["house"], "EPSG:4326"
    )
    assert "a side of a pixel measures 0.5 to 1 m on the ground" in import_maps(scene, labels, "--split", "train")
    assert read_gsd(tmp_path / "data") is None
    assert facts_of(tmp_path / "data")["pixel_m"] == pytest.approx([0.5, 1.0], rel=1e-3)  # the scene's own
    assert "a side of a pixel" not in import_maps(scene, labels, "--split", "train", "--gsd", "0.5", "--force")
    assert read_gsd(tmp_path / "data") == pytest.approx(0.5, rel=1e-2)


def test_a_network_is_shown_the_scale_that_it_learned_from(
    import_maps: ImportMaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiles of 64 pixels of a metre are trained at 128: pixels of half a metre."""
    crs, place = PLACES["metres"]
    scene = photo_scene(tmp_path / "scene.tif", *SIZE, place)
    shapes = [on_ground(crs, place, [(x, y), (x + 60, y), (x + 60, y + 60), (x, y + 60)]) for x in (0, 128) for y in (0, 120)]
    labels = write_features(tmp_path / "labels.gpkg", shapes, ["house"] * 4, "EPSG:4326")
    import_maps(scene, labels, "--gsd", "1")
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    options = ["--start", "none", "--epochs", "1", "--device", "cpu", "--threads", "1", "--set", "side=[128,128]"]
    out = tmp_path / "run"
    data = ["--data", str(tmp_path / "data"), "--recipe", str(tmp_path / "tiny.toml")]
    assert train([*data, *options, "--name", "houses", "--out", str(out)]) == 0
    assert load_weights(out / "houses.safetensors").manifest.preprocessing.gsd == pytest.approx(0.5, rel=1e-2)
    capsys.readouterr()
    place = Affine(1, 0, CORNER[0], 0, -1, CORNER[1])
    other = photo_scene(tmp_path / "other.tif", 50, 60, place)
    segmenting = ["--weights", str(out / "houses.safetensors"), "--device", "cpu", "--threads", "1", "--tile", "128"]
    assert segment([str(other), "-o", str(tmp_path / "classes.tif"), *segmenting]) == 0
    assert "scaled to 120 x 100: the weights learned from pixels of 0.5 m" in capsys.readouterr().err
    assert segment([str(other), "-o", str(tmp_path / "classes.tif"), *segmenting, "--gsd", "1"]) == 0
    assert "scaled" not in capsys.readouterr().err
    nowhere = photo_scene(tmp_path / "nowhere.tif", 50, 60, place, crs=None)
    assert segment([str(nowhere), "-o", str(tmp_path / "classes.tif"), *segmenting]) == 0
    assert "and " + str(nowhere) + " does not say how large its own are" in capsys.readouterr().err
