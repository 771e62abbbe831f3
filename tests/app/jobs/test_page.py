"""The page on jobs: its commands run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from app.serving.jobs.job import Job, Status, now
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


@pytest.mark.parametrize("status", ["failed", "dismissed", None])
def test_the_page_s_wait_ends_with_a_job_that_has_no_result(serve: Serve, tmp_path: Path, status: Status | None) -> None:
    id = "0" * 32
    if status:
        (tmp_path / id).mkdir()
        Job(id, "", "client", "tif", {}, "narrow", "", status, now(), finished=now()).save(tmp_path / id)
    block = blocks((ROOT / "docs" / "jobs.md").read_text())[0]
    wait = block[block.index("until") : block.index("done") + len("done")]
    with serve(jobs_dir=tmp_path) as client, over_http(client) as port:
        run(f"JOB={id}; {wait.replace(':8000', f':{port}')}", tmp_path)
