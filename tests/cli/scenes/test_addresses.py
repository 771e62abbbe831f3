"""Scenes at addresses: objects of an S3 store at the endpoint that the environment names, parts of files over HTTP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from cli.stores import write_object
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import address_settings, open_scene
from tests.support import http_servers
from tests.support.cli.folders import Segment
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene

PHOTO = make_photo(300, 200)


def classes(path: Path) -> object:
    with rasterio.open(path) as file:
        return file.read(1).tolist()


def test_an_object_is_read_from_the_endpoint_of_the_environment(run: Segment, bucket: str, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", PHOTO)
    write_object(f"{bucket}/a.tif", Path(scene).read_bytes())
    assert run(scene, "-o", tmp_path / "local.tif", "--tile", "128") == 0
    assert run(f"{bucket}/a.tif", "-o", tmp_path / "object.tif", "--tile", "128") == 0
    assert classes(tmp_path / "object.tif") == classes(tmp_path / "local.tif")


def test_a_missing_object_is_told_in_a_line(
    run: Segment, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{bucket}/none.tif", "-o", tmp_path / "out.tif") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.tif is not read as a scene" in line
    assert "key does not exist" in line


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, {}),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, {"AWS_S3_ENDPOINT": "127.0.0.1:9000", "AWS_HTTPS": "NO"}),
        ({"AWS_ENDPOINT_URL": "https://s3.example.org/"}, {"AWS_S3_ENDPOINT": "s3.example.org", "AWS_HTTPS": "YES"}),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_S3_ENDPOINT": "b"}, {}),
    ],
)
def test_gdal_s_own_variables_come_first(environment: dict[str, str], settings: dict[str, str]) -> None:
    style = {"AWS_VIRTUAL_HOSTING": "FALSE"} if settings else {}
    assert address_settings(environment) == settings | style


class Ranges(http_servers.Handler):
    """Serves `data` in the parts that are asked for; counts their bytes."""

    data = b""
    sent = 0

    def get(self) -> None:
        if self.command == "HEAD":
            size = {"Accept-Ranges": "bytes", "Content-Length": str(len(self.data))}
            return self.answer(200 if self.path == "/cog.tif" else 404, b"", size)
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = self.data[int(first) : int(last) + 1]
        type(self).sent += len(part)
        return self.answer(206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(self.data)}"})


def test_of_a_file_over_http_the_parts_that_are_needed_are_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    scene_file = write_scene(tmp_path / "a.tif", noise)
    rasterio.shutil.copy(scene_file, tmp_path / "cog.tif", driver="COG", compress="deflate", overviews="none")
    Ranges.data, Ranges.sent = (tmp_path / "cog.tif").read_bytes(), 0
    server = http_servers.LoopbackServer(Ranges)
    with http_servers.running(server), open_scene(f"{server.url}/cog.tif") as scene:
        samples, _ = scene.read(Window(1900, 1900, 100, 100), [1, 2, 3])
    assert (np.moveaxis(samples, 0, 2) == noise[1900:2000, 1900:2000]).all()
    assert Ranges.sent < len(Ranges.data) / 2
