"""The page on jobs: its commands run as they stand."""

from __future__ import annotations

from pathlib import Path

import rasterio

from tests.support.app.services import Serve
from tests.support.checkout import ROOT, run
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene
from tests.support.pages import blocks
from tests.support.servers import over_http


def test_the_commands_of_the_page_send_a_scene_and_fetch_its_classes(serve: Serve, tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", make_photo(60, 90))
    with serve(jobs_dir=tmp_path / "jobs") as client, over_http(client) as port:
        for block in blocks((ROOT / "docs" / "jobs.md").read_text()):
            run(block.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}"), tmp_path)
    with rasterio.open(tmp_path / "classes.tif") as result:
        assert result.shape == (60, 90)
