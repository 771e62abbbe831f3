"""Jobs that are dismissed, removed or changed at the wrong moment: the service answers in words, and the next job runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from app.serving.jobs.job import Job, now
from app.serving.jobs.store import JobStore
from tests.app.jobs.test_failures import process_of
from tests.support.app.exchanges import PHOTO, assert_problem
from tests.support.app.jobs import begun, ended, result_of, submit, submit_photos
from tests.support.app.services import Serve
from tests.support.polling import wait_until

ID = "0123456789abcdef" * 2


def test_a_job_that_is_removed_while_its_dismissal_waits_ends_no_other_job(serve: Serve, scene: Path, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path) as client, ThreadPoolExecutor(8) as pool:
        with begun(client, scene.read_bytes()) as (id, _):
            answers = list(pool.map(lambda _: client.delete(f"/jobs/{id}").status_code, range(8)))
        assert set(answers) <= {200, 204, 404}, answers
        wait_until(lambda: client.delete(f"/jobs/{id}").status_code == 404)
        assert not (tmp_path / id).exists()
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))


def test_a_process_that_is_stopped_counts_as_one_that_ended(
    serve: Serve, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.inference.jobs.scene_process.STALL_S", 5.0)  # before the process is waited for
    with serve(jobs_dir=tmp_path) as client, begun(client, scene.read_bytes()) as (id, hold):
        os.kill(process_of(id), signal.SIGSTOP)
        hold.open()
        result_of(client, id)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "lost"}, {"output": "png"}, {"created": 5}, {"model": ["a"]}, {"finished": "yesterday"},
        {"created": "yesterday"}, {"owner": None}, {"id": "../other"}, {"crashes": "many"}, {"more": 1}, {"status": "running"},
    ],
    ids=str,
)  # fmt: skip
def test_a_job_that_was_edited_is_left_out(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = tmp_path / ID
    folder.mkdir()
    job = Job(ID, "", "a", "zip", {}, "m", "0", "successful", now(), finished=now(), progress=100)
    job.save(folder)
    assert vars(Job.load(folder)) == vars(job)
    (folder / "job.json").write_text(json.dumps(asdict(job) | changes))
    assert load(tmp_path).jobs() == []


def test_what_a_kill_left_of_a_job_that_had_ended_is_removed(tmp_path: Path) -> None:
    (tmp_path / ID / "work").mkdir(parents=True)
    Job(ID, "", "a", "zip", {}, "m", "0", "successful", now(), finished=now()).save(tmp_path / ID)
    for name in ("result.zip", "work/000000"):
        (tmp_path / ID / name).write_text("a")
    load(tmp_path)
    assert sorted(path.name for path in (tmp_path / ID).iterdir()) == ["job.json", "result.zip"]


def load(folder: Path) -> JobStore:
    """The jobs of a folder, which no service uses."""
    store = JobStore(folder, 1e9, 1)
    asyncio.run(store.load())
    store.close()
    return store


def test_a_result_that_is_a_link_or_missing_is_not_answered(serve: Serve, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with serve(jobs_dir=tmp_path / "jobs") as client:
        id = submit_photos(client, {"a.png": PHOTO}, output="zip")
        result_of(client, id)
        result = tmp_path / "jobs" / id / "result.zip"
        result.unlink()
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "result")
        result.symlink_to(secret)  # as the process of a scene could, if the scene took it over
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "result")


@pytest.mark.parametrize(
    "message",
    [b"no JSON", b'{"kind": "error", "type": "unexpected", "message": "a"}',
     b'{"kind": "error", "type": "DamagedImage", "message": "\\ud800"}'],
    ids=str,
)  # fmt: skip
def test_a_process_that_a_scene_took_over_has_the_submission_refused_in_words(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr("model.inference.jobs.scene_process.MODULE", "tests.support.app.hostile_scene")
    with serve(jobs_dir=tmp_path) as client:
        assert_problem(client.post("/jobs", params={"output": "tif"}, content=message), 422, "")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("message", [b'{"kind": "tile"}', b'{"kind": "done"}'], ids=str)
def test_a_process_that_a_scene_took_over_fails_the_job_in_words(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr("model.inference.jobs.scene_process.MODULE", "tests.support.app.hostile_scene")
    monkeypatch.setattr("app.serving.jobs.runner.MOST_CRASHES", 1)
    with serve(jobs_dir=tmp_path) as client:
        id = submit(client, b'{"kind": "plan", "rows": 9}\n' + message, output="tif")
        document = ended(client, id)
        assert document["status"] == "failed", document
        assert document["message"]
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "has no result")
