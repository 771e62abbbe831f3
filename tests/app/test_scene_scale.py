"""A network that learned from scenes gets a scene at the scale that it learned from, from the service's workers too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from rasterio.io import MemoryFile

from imaging.georeferenced.errors import SceneError
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.scaling import SideError
from model.inference.segmenter import Segmenter
from model.weights_file import find_files, load_weights, save_weights
from tests.support.app.exchanges import assert_problem, post
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import north_up, scene_file
from training.publishing.onnx_files import refresh_documents

SCENE = make_photo(90, 130)


@pytest.fixture(scope="module")
def weights(varied_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learned from pixels of half a metre."""
    varied, path = load_weights(varied_file), tmp_path_factory.mktemp("scale") / varied_file.name
    preprocessing = replace(varied.manifest.preprocessing, gsd=0.5)
    save_weights(path, varied.tensors, replace(varied.manifest, preprocessing=preprocessing))
    copy(varied_file.with_suffix(".onnx"), path.with_suffix(".onnx"))
    refresh_documents(path, varied.sha256)
    return path


@pytest.fixture(scope="module")
def segmenter(weights: Path) -> Segmenter:
    return Segmenter(load_runtime(find_files(str(weights)), "openvino", "cpu", "float32", threads=1))


def test_the_plan_has_the_side_of_that_scale(segmenter: Segmenter) -> None:
    options = Options(rendering=Rendering("geotiff"))
    for metres, longer in ((0.5, 130), (1.0, 260), (0.25, 65)):
        plan = segmenter.plan(scene_file(SCENE, transform=north_up(metres)), options)
        assert max(plan.tile_plan.size) == longer
    scene = scene_file(SCENE, transform=north_up(1.0))
    assert max(segmenter.plan(scene, replace(options, side=100)).tile_plan.size) == 100
    assert max(segmenter.plan(scene, replace(options, side="native")).tile_plan.size) == 130
    assert max(segmenter.plan(encode(SCENE), Options()).tile_plan.size) == 128  # a photo has the advised side
    degrees = scene_file(SCENE, crs="EPSG:4326", transform=north_up(1e-5, (11.0, 48.0)))  # 1.11 x 0.75 m, which is 0.91 squared
    assert max(segmenter.plan(degrees, options).tile_plan.size) == 237
    beyond = scene_file(SCENE, transform=north_up(1.0, (1e9, 1e9)))
    assert max(segmenter.plan(beyond, replace(options, side="native")).tile_plan.size) == 130
    with pytest.raises(SceneError, match="cannot become longitude and latitude"):
        segmenter.plan(beyond, options)


def test_a_scene_that_shows_too_little_ground_or_has_no_metres_is_refused(segmenter: Segmenter) -> None:
    options = Options(rendering=Rendering("geotiff"))
    assert segmenter.plan(scene_file(SCENE, transform=north_up(0.123)), options).tile_plan.size == (22, 32)
    assert segmenter.plan(scene_file(SCENE[:20, :20], transform=north_up(0.25)), options).tile_plan.size == (10, 10)
    fine = scene_file(SCENE, transform=north_up(0.003))
    with pytest.raises(SideError, match=r"learned from pixels of 0\.5 m .* 130x90 pixels would become 1x1, .* needs 32"):
        segmenter.plan(fine, options)
    local = scene_file(SCENE, crs='LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(SideError, match=r"this scene does not say how large its own are; .* give side=native"):
        segmenter.plan(local, options)
    for scene in (fine, local):
        assert segmenter.plan(scene, replace(options, side="native")).tile_plan.size == (90, 130)


def test_the_service_answers_a_scene_at_that_scale(weights: Path, segmenter: Segmenter, serve: Serve) -> None:
    scene = scene_file(SCENE, transform=north_up(1.0))
    options = Options(rendering=Rendering("geotiff"), side=260)
    expected = segmenter.segment(scene, segmenter.plan(scene, options)).body
    with serve(weights=str(weights), tile="auto") as client:
        answers = [post(client, scene, format="geotiff", **more).content for more in ({}, {"side": 260}, {"side": 100})]
        too_coarse = post(client, scene_file(SCENE, transform=north_up(9.0)), format="geotiff")
    ids = [classes(answer) for answer in answers]
    assert (ids[0] == classes(expected)).all()
    assert (ids[1] == ids[0]).all()
    assert (ids[2] != ids[0]).any()
    assert_problem(too_coarse, 422, "up to 520 for an image of 130x90, got 234", "give side=native")


def classes(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with MemoryFile(data) as memory, memory.open() as file:
        ids: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = file.read(1)
        return ids
