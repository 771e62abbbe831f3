"""Who holds what while a job runs: requests and other clients' jobs wait for little of it, and it loses nothing of its work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.serving.jobs import runner
from model.inference.processes.scene_program import KEEP_S
from model.inference.tiling import plan_tiles
from tests.support.app.exchanges import PHOTO, assert_idle, metric, service_of
from tests.support.app.jobs import result_of, status_of, submit, submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import write_scene
from tests.support.polling import HANG_S, wait_until

PHOTO_TILES, AHEAD = 2, 30  # of `PHOTO`; tiles of which a process that is ended may have sent and not kept


LARGE = encode(make_photo(2100, 2000, seed=5), "JPEG")


def test_photos_of_a_job_hold_no_place_turn_worker_or_memory_of_requests_and_one_large_photo_is_in_work(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(jobs_dir=tmp_path) as client, ThreadPoolExecutor(1) as pool:
        service, workers = service_of(client), service_of(client).workers.pids
        requests, background = service.admission, service.background
        with hold_model(service) as hold:
            submit_photos(client, {"a.jpg": LARGE, "b.jpg": LARGE}, output="zip", side="native")
            wait_until(lambda: hold.entry.is_set() and bool(background.large.waiting))
            assert (requests.used_bytes, requests.queued_tiles, len(requests.places)) == (0, 0, 0)
            assert (len(background.large.working), len(background.small.working)) == (1, 0)
            assert service.workers.pids == workers
            answer = pool.submit(client.post, "/segment", content=LARGE)
            wait_until(lambda: bool(requests.large.working))
        assert answer.result(HANG_S).status_code == 200
        wait_until(lambda: not background.places)
        assert_idle(service)


KEYS = {"api_keys": "ann:one,bob:two"}


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TURN_S", 0.0)


@pytest.mark.usefixtures("no_turns")
def test_a_turn_ends_in_the_midst_of_a_row_of_tiles_of_which_none_runs_again(
    serve: Serve, tmp_path: Path, bytes_of: Callable[..., bytes]
) -> None:
    wide = write_scene(tmp_path / "wide.tif", make_photo(90, 15_000, seed=6), tiled=True)
    with serve(jobs_dir=tmp_path / "jobs", **KEYS) as client, hold_model(service_of(client)) as hold:
        client.headers["X-API-Key"] = "one"
        scene = submit(client, Path(wide).read_bytes(), output="tif")
        assert hold.entry.wait(HANG_S)
        time.sleep(2 * KEEP_S)
        hold.open()
        hold.close(60)  # else the scene may end before the photo comes
        assert hold.entry.wait(HANG_S)
        client.headers["X-API-Key"] = "two"
        photos = submit_photos(client, {"a.png": PHOTO}, output="jsonl")
        wait_until(lambda: status_of(client, photos)["status"] == "running")
        hold.open()
        assert len(result_of(client, photos).splitlines()) == 1
        client.headers["X-API-Key"] = "one"
        assert status_of(client, scene)["status"] == "running"
        assert result_of(client, scene) == bytes_of(Path(wide), ".tif")
        expected = len(plan_tiles((90, 15_000), (96, 96), 0.25)) + PHOTO_TILES
        assert metric(client, "segment_tiles_total") - expected <= AHEAD


@pytest.mark.usefixtures("no_turns")
def test_a_turn_ends_with_the_photos_in_work_of_which_none_is_begun_again(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path / "jobs", **KEYS) as client, hold_model(service_of(client)) as hold:
        client.headers["X-API-Key"] = "one"
        large = submit_photos(client, {f"{name}.jpg": LARGE for name in "abc"}, output="jsonl", side="600")
        wait_until(lambda: bool(service_of(client).background.large.waiting))
        client.headers["X-API-Key"] = "two"
        small = submit_photos(client, {"a.png": PHOTO}, output="jsonl")
        hold.open()
        result_of(client, small)
        client.headers["X-API-Key"] = "one"
        assert status_of(client, large)["status"] in ("accepted", "running")
        assert len(result_of(client, large).splitlines()) == 3
        tiles = [json.loads(line)["answer"]["tiling"]["tiles"] for line in result_of(client, large).splitlines()]
        assert metric(client, "segment_tiles_total") == sum(tiles) + PHOTO_TILES
