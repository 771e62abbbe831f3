"""A network of five bands: imported from scenes, checked, trained, evaluated, exported, and served on a scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cli.main import main as segment
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import find_files, load_weights
from tests.support.training.maps import square, write_features, write_scene
from tests.support.training.runs import TINY_RECIPE
from training.commands.check import main as check
from training.commands.evaluate import main as evaluate
from training.commands.export import main as export
from training.commands.import_labels import main as import_labels
from training.commands.train import main as train

pytestmark = pytest.mark.long
SIDE, BANDS = 384, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene whose squares differ from the ground in the fifth band alone, its labels, and a network trained on them."""
    root = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    samples = rng.integers(80, 120, (SIDE, SIDE, BANDS), dtype=np.uint8)
    corners = [(x, y) for x in range(4, SIDE, 64) for y in range(4, SIDE, 64)]
    places = [(x + int(rng.integers(0, 20)), y + int(rng.integers(0, 20))) for x, y in corners]
    for left, top in places:
        samples[top : top + 32, left : left + 32, 4] += 120
    write_scene(root / "scene.tif", samples)
    write_features(root / "labels.gpkg", [square(left, top, 32) for left, top in places], ["plot"] * len(places))
    arguments = ["--raster", root / "scene.tif", "--vector", root / "labels.gpkg", "--field", "class", "--tile", 96]
    assert import_labels([*map(str, arguments), "--bands", "1,2,3,4,5", "--out", str(root / "DATA")]) == 0
    (root / "tiny.toml").write_text(TINY_RECIPE)
    options = ["--epochs", "30", "--evaluate-every", "30", "--device", "cpu", "--threads", "1", "--set", "color=0.1"]
    command = ["--data", root / "DATA", "--recipe", root / "tiny.toml", "--start", "none", "--name", "plots"]
    command += ["--out", root / "run"]
    assert train([*map(str, command), *options]) == 0
    return root


def test_tiles_have_all_bands_and_their_place(folder: Path) -> None:
    assert json.loads((folder / "DATA" / "bands.json").read_text())["bands"][3:] == ["band 4", "band 5"]
    tile = next((folder / "DATA" / "images").glob("*/scene_r001_c001.tif"))
    with rasterio.open(tile) as file, rasterio.open(folder / "scene.tif") as scene:
        assert file.count == BANDS
        assert np.array_equal(file.read(), scene.read()[:, 96:192, 96:192])
        assert file.transform @ (0, 0) == scene.transform @ (96, 96)


def test_the_file_names_the_bands_and_scores_what_photos_do_not_show(folder: Path) -> None:
    weights = load_weights(folder / "run" / "plots.safetensors")
    assert weights.manifest.preprocessing.channels == weights.manifest.fcn.bands == BANDS
    assert weights.manifest.preprocessing.bands[4] == "band 5"
    (score,) = weights.manifest.scores.values()
    assert score["iou"][1] > 0.5
    command = [str(folder / "DATA"), "--weights", str(folder / "run" / "plots.safetensors"), "--report", str(folder / "a.html")]
    assert check(command) == 0
    assert evaluate(["--data", command[0], *command[1:3], "--device", "cpu", "--pictures", str(folder / "worst")]) == 0
    assert "in the bands band 1, band 2, band 3, band 4, band 5;" in (folder / "run" / "plots.md").read_text()


def test_int8_is_quantised_on_tiles_of_all_bands(folder: Path) -> None:
    path = folder / "run" / "plots.safetensors"
    tiles = folder / "DATA" / "images" / "train"
    assert export(["--weights", str(path), "--int8", "--calibration", str(tiles), "--photos", "4"]) == 0
    full, quantised = (load_runtime(find_files(str(path)), "openvino", "cpu", each, 1) for each in ("float32", "int8"))
    master = load_runtime(find_files(str(path)), "torch", "cpu", "float32", 1)
    with rasterio.open(next(tiles.iterdir())) as file:
        tile = np.ascontiguousarray(np.moveaxis(file.read(), 0, 2))
    assert np.allclose(master.logits([tile]), full.logits([tile]), atol=1e-3)
    assert (full.logits([tile]).argmax(1) == quantised.logits([tile]).argmax(1)).mean() >= 0.9


def test_a_scene_is_segmented(folder: Path) -> None:
    weights = folder / "run" / "plots.safetensors"
    assert segment([str(folder / "scene.tif"), "-o", str(folder / "out.tif"), "--weights", str(weights)]) == 0
    with rasterio.open(folder / "out.tif") as file, rasterio.open(folder / "scene.tif") as scene:
        assert file.transform == scene.transform
        plots = scene.read(5) > 150
        assert ((file.read(1) == 1) == plots).mean() > 0.9
    segmenter = Segmenter(load_runtime(find_files(str(weights)), "torch", "cpu", "float32", 1))
    data = (folder / "scene.tif").read_bytes()
    for format in ("png", "overlay", "geojson", "geotiff"):
        options = Options(rendering=Rendering(format), side="native")  # type: ignore[arg-type]
        assert segmenter.segment(data, segmenter.plan(data, options)).body
