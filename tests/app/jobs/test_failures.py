"""Jobs when something is missing: the disk, the network's file, the process, the service itself; and what the log says."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.support.app.exchanges import PHOTO, assert_problem, service_of
from tests.support.app.jobs import FIRST_TILES, begun, ended, result_of, status_of, submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.polling import HANG_S, wait_until


def test_a_job_goes_on_after_a_restart_with_the_same_bytes(
    serve: Serve, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "segment")
    with serve(jobs_dir=tmp_path / "jobs") as client, begun(client, scene.read_bytes()) as (id, _):
        client.portal.call(client.app.state.jobs.stop)  # type: ignore[attr-defined, union-attr]
    rows = tmp_path / "jobs" / id / "work" / "result.tif.rows"
    assert rows.stat().st_size
    progress = json.loads((tmp_path / "jobs" / id / "job.json").read_bytes())["progress"]
    with serve(jobs_dir=tmp_path / "jobs") as client:
        assert result_of(client, id) == bytes_of(scene, ".tif")
    assert not rows.exists()
    (fields,) = (record.fields for record in caplog.records if record.getMessage() == "job goes on")  # type: ignore[attr-defined]
    assert (fields["job"], fields["progress"]) == (id, progress)
    assert progress > 0


def test_photos_that_are_done_are_kept_over_a_restart(serve: Serve, tmp_path: Path) -> None:
    photos = {f"{index}.png": PHOTO for index in range(5)}
    with serve(jobs_dir=tmp_path) as client, hold_model(service_of(client)) as hold:
        hold.close(5)  # of the two tiles of each
        id = submit_photos(client, photos, output="jsonl")
        wait_until(lambda: status_of(client, id)["progress"] > 0)
        client.portal.call(client.app.state.jobs.stop)  # type: ignore[attr-defined, union-attr]
    parts = {path.name: path.stat().st_mtime_ns for path in (tmp_path / id / "work").glob("*.part")}
    assert parts
    os.truncate(tmp_path / id / "work" / min(parts), 0)  # as a power failure leaves it
    with serve(jobs_dir=tmp_path) as client:
        assert len(result_of(client, id).splitlines()) == len(photos)


def test_a_process_that_is_killed_is_replaced_and_the_job_goes_on(
    serve: Serve, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path
) -> None:
    """Its result is begun once all rows are kept: else each turn would write those of all turns before it."""
    with serve(jobs_dir=tmp_path / "jobs") as client, begun(client, scene.read_bytes()) as (id, hold):
        work, begun_results = tmp_path / "jobs" / id / "work", list[int]()
        for _ in range(2):
            progress = status_of(client, id)["progress"]
            begun_results.append(len([*work.glob(".result.tif*.part")]))
            os.kill(process_of(id), signal.SIGKILL)
            hold.open()
            hold.close(FIRST_TILES)
            wait_until(lambda: status_of(client, id)["progress"] > progress and hold.entry.is_set())  # noqa: B023
        hold.open()
        assert result_of(client, id) == bytes_of(scene, ".tif")
        assert begun_results == [1, 0]


def ended_job(serve: Serve, jobs_dir: Path) -> Path:
    """What a service that has ended keeps of a successful job."""
    with serve(jobs_dir=jobs_dir) as client:
        id = submit_photos(client, {"a.png": PHOTO}, output="zip")
        result_of(client, id)
    return jobs_dir / id / "job.json"


def test_a_job_whose_weights_were_replaced_fails_and_says_so(serve: Serve, tmp_path: Path) -> None:
    path = ended_job(serve, tmp_path)
    job = json.loads(path.read_bytes())
    for changes in ({"sha256": "0" * 64}, {"model": "other"}):
        path.write_text(json.dumps(job | {"status": "running", "finished": None} | changes))
        with serve(jobs_dir=tmp_path) as client:
            document = ended(client, path.parent.name)
            assert document["status"] == "failed"
            assert "send it again" in document["message"]


def test_a_full_disk_is_507_and_leaves_nothing(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(jobs_dir=tmp_path, jobs_mb=1, job_upload_mb=1) as client:
        id = submit_photos(client, {"a.png": PHOTO}, output="zip")
        assert_problem(client.post("/jobs", params={"output": "tif"}, content=bytes(999_000)), 507, "SEGMENT_JOBS_MB")
        assert_problem(client.post("/jobs", params={"output": "tif"}, content=bytes(1_100_000)), 413, "SEGMENT_JOB_UPLOAD_MB")
        monkeypatch.setattr("app.serving.jobs.store.RESERVE_BYTES", 1 << 60)
        assert_problem(client.post("/jobs", params={"output": "zip"}, content=PHOTO), 507, "disk is full")
        assert_problem(client.post("/jobs", params={"output": "zip"}, content=iter([PHOTO])), 507, "disk is full")
        monkeypatch.undo()
        assert {path.name for path in tmp_path.iterdir()} == {".lock", id}
        assert client.post("/jobs", params={"output": "zip"}, content=PHOTO).status_code == 201


def test_a_disk_that_becomes_full_ends_the_job_and_not_the_service(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(jobs_dir=tmp_path) as client, hold_model(service_of(client)) as hold:
        id = submit_photos(client, {"a.png": PHOTO}, output="zip")
        monkeypatch.setattr("app.serving.jobs.store.RESERVE_BYTES", 1 << 60)
        document = ended(client, id)
        assert document["status"] == "failed"
        assert document["message"] == "there is no room on the service's disk; send it again later"
        monkeypatch.undo()
        hold.open()
        assert client.post("/segment", content=PHOTO).status_code == 200


def test_a_folder_is_of_one_service(serve: Serve, tmp_path: Path, narrow_file: Path) -> None:
    (tmp_path / ("0" * 32)).mkdir()
    (tmp_path / "photos").mkdir()
    with serve(jobs_dir=tmp_path):
        assert not (tmp_path / ("0" * 32)).exists()  # an upload that never ended
        assert (tmp_path / "photos").exists()  # the operator's
        with pytest.raises(OSError, match="in use by another service"):
            create_app(Settings(weights=(str(narrow_file),), jobs_dir=tmp_path))


def test_jobs_that_ended_long_ago_are_removed(serve: Serve, tmp_path: Path) -> None:
    path = ended_job(serve, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"finished": "2020-01-01T00:00:00.000Z"}))
    with serve(jobs_dir=tmp_path) as client:
        wait_until(lambda: client.get(f"/jobs/{path.parent.name}").status_code == 404)
    assert not path.parent.exists()


def process_of(id: str) -> int:
    """The process that has this job's folder for its temporary files."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"CPL_TMPDIR={os.sep}".encode() in (content := path.read_bytes()) and id.encode() in content:
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process of {id}")


def test_photos_that_failed_are_counted_and_lines_name_the_job_and_its_sender(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = {"a.png": PHOTO, "b.png": PHOTO[:300], "c.png": PHOTO[:200]}
    with caplog.at_level(logging.INFO, "segment"), serve(jobs_dir=tmp_path, api_keys="ann:one") as client:
        client.headers["X-API-Key"] = "one"
        id = submit_photos(client, photos, output="jsonl")
        assert ended(client, id)["message"] == "2 of 3 photos failed; the result says why for each"
    fields = {record.getMessage(): record.fields for record in caplog.records if getattr(record, "fields", {}).get("job") == id}
    sender = {"key": "ann", "client": "testclient"}
    sent, start, end = fields["request"], fields["job started"], fields["job ended"]
    assert all(sender.items() <= each.items() for each in (sent, start, end))
    assert (sent["path"], sent["status"], sent["files"]) == ("/jobs", 201, 3)
    assert sent["bytes"] > sum(map(len, photos.values()))
    assert (end["status"], end["images"], end["failed"]) == ("successful", 3, 2)
    assert end["seconds"] >= 0


def state(url: str, id: str) -> str:
    return str(httpx.get(f"{url}/jobs/{id}", timeout=HANG_S).json()["status"])
