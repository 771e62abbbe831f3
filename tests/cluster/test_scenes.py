"""Scenes in parts: the joined result has the bytes of one machine, whatever the parts, and goes on after any end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ray.cluster_utils import Cluster

from cli.local import Network
from cli.scene_request import read_requests
from cli.scenes import segment_one
from cluster import bulk, scenes
from cluster.scenes import join, part_file, plan_parts, segment_part
from imaging.georeferenced.errors import SceneError
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.inference.scenes.request import SceneRequest
from model.weights_file import find_files
from tests.support.checkout import ROOT
from tests.support.cli.commands import environment
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene


@pytest.fixture(scope="module")
def network(varied_file: Path) -> Network:
    return Network(str(varied_file), "openvino", "cpu", "float32", 1, "auto")


@pytest.fixture(scope="module")
def runtime(varied_file: Path) -> Runtime:
    return load_runtime(find_files(str(varied_file)), "openvino", "cpu", "float32", 1)


@pytest.fixture
def request_of(tmp_path: Path) -> SceneRequest:
    mask = np.ones((900, 100), bool)
    mask[300:500, 25:75] = False
    scene = write_scene(tmp_path / "a.tif", make_photo(900, 100), mask=mask, tiled=True, blockxsize=64, blockysize=64)
    return SceneRequest(scene, str(tmp_path / "out.tif"), tile=(64, 64))


@pytest.mark.parametrize(("ending", "gsd"), [("tif", None), ("gpkg", None), ("tif", 0.8)])
def test_parts_give_the_bytes_of_one_machine(
    request_of: SceneRequest,
    network: Network,
    runtime: Runtime,
    tmp_path: Path,
    ending: str,
    gsd: float | None,
) -> None:
    whole = replace(request_of, out=str(tmp_path / f"whole.{ending}"), gsd=gsd)
    segment_one([whole], runtime)
    split = replace(whole, out=str(tmp_path / "split" / f"out.{ending}"))
    parts = plan_parts(split, network, tasks=1)
    assert len(parts.spans) > 1
    for index in reversed(range(len(parts.spans))):
        assert segment_part(split, parts, index) == parts.spans[index][1] - parts.spans[index][0]
    join(split, parts)
    assert Path(split.out).read_bytes() == Path(whole.out).read_bytes()
    assert os.listdir(tmp_path / "split") == [f"out.{ending}"]


def test_a_part_goes_on_and_a_missing_one_is_told(request_of: SceneRequest, network: Network) -> None:
    parts = plan_parts(request_of, network, 1)
    segment_part(request_of, parts, 0)
    with part_file(request_of, parts, 0, resume=True) as rows:
        data = rows.path.read_bytes()
    rows.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match="lacks rows"):
        join(request_of, parts)
    segment_part(replace(request_of, resume=True), parts, 0)
    assert rows.path.read_bytes() == data


def test_files_of_another_s_beside_the_parts_stay_and_a_link_is_refused(
    request_of: SceneRequest, network: Network, tmp_path: Path
) -> None:
    parts = plan_parts(request_of, network, 1)
    for index in range(len(parts.spans)):
        segment_part(request_of, parts, index)
    folder = Path(request_of.out + ".parts")
    (folder / "notes.txt").write_text("of a person")
    join(request_of, parts)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    folder.rename(tmp_path / "real")
    folder.symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="is a link"):
        segment_part(request_of, parts, 0)


def test_a_node_with_other_classes_is_refused(request_of: SceneRequest, network: Network) -> None:
    parts = replace(plan_parts(request_of, network, 1), rows_key="other")
    with pytest.raises(SceneError, match="give all nodes the same weights file"):
        segment_part(request_of, parts, 0)


def test_a_small_scene_is_one_part(request_of: SceneRequest, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "LEAST_TILE_ROWS", 100)
    assert plan_parts(request_of, network, 8).spans == ((0, 900),)


@pytest.mark.parametrize(("out", "end"), [(["maps", "--scenes", "tif"], "maps/a.tif"), (["a.gpkg"], "a.gpkg")])
def test_the_command_s_arguments_ask_for_scenes(out: list[str], end: str, request_of: SceneRequest) -> None:
    (request,) = read_requests(bulk.parser().parse_args([request_of.source, "-o", *out]))
    assert (request.source, request.out) == (request_of.source, end)


@pytest.mark.long
def test_a_cluster_does_many_scenes_and_tells_what_fails(
    cluster: Cluster, varied_file: Path, request_of: SceneRequest, runtime: Runtime, tmp_path: Path
) -> None:
    segment_one([request_of], runtime)
    write_scene(tmp_path / "b.tif", make_photo(100, 90, 1))
    (tmp_path / "c.tif").write_text("no raster")
    code = "import sys; from cli.start import bulk; sys.exit(bulk())"
    options = ["--weights", str(varied_file), "--device", "cpu", "--precision", "float32", "--runtime", "openvino"]
    inputs = [str(tmp_path / f"{name}.tif") for name in "abc"]
    words = [sys.executable, "-c", code, *inputs, "-o", str(tmp_path / "maps"), "--scenes", "tif", "--tile", "64", *options]
    result = subprocess.run(
        [*words, "--address", cluster.address], cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, check=False
    )
    assert result.returncode == 3, result.stderr
    assert "c.tif is not read as a scene" in result.stderr
    assert sorted(os.listdir(tmp_path / "maps")) == ["a.tif", "b.tif"]
    with rasterio.open(tmp_path / "maps" / "a.tif") as file, rasterio.open(request_of.out) as expected:
        assert (file.read(1) == expected.read(1)).all()
