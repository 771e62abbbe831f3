"""Jobs that are dismissed, removed or changed at the wrong moment: the service answers in words, and the next job runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.result_response import ResultResponse
from app.connections import Connections
from app.serving.jobs.job import Job, now
from app.serving.jobs.store import JobStore
from tests.app.jobs.test_failures import process_of, state
from tests.support.app.attacks import KINDS
from tests.support.app.exchanges import PHOTO, answer_on, assert_problem, connect, service_of
from tests.support.app.jobs import OPEN, begun, ended, result_of, submit, submit_photos
from tests.support.app.services import Serve
from tests.support.costs import compares_times
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, LONGEST_S, wait_until
from tests.support.servers import Process, fcn_serve, over_http

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
    monkeypatch.setattr("model.inference.processes.scene_process.STALL_S", 5.0)  # before the process is waited for
    with serve(jobs_dir=tmp_path) as client, begun(client, scene.read_bytes()) as (id, hold):
        os.kill(process_of(id), signal.SIGSTOP)
        hold.open()
        result_of(client, id)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "lost"}, {"output": "png"}, {"created": 5}, {"model": ["a"]}, {"finished": "yesterday"},
        {"created": "yesterday"}, {"owner": None}, {"id": "../other"}, {"crashes": "many"}, {"more": 1}, {"status": "running"},
        {"success_uri": ["s3cret"]},
        {"created": "2026-11-30"}, {"created": ""}, {"finished": "0001-01-01T00:00:00"},
    ],
    ids=str,
)  # fmt: skip
def test_a_job_that_was_edited_is_left_out(
    tmp_path: Path, changes: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / ID
    folder.mkdir()
    job = Job(ID, "", "a", "zip", {}, "m", "0", "successful", now(), finished=now(), progress=100)
    job.save(folder)
    assert vars(Job.load(folder)) == vars(job)
    (folder / "job.json").write_text(json.dumps(asdict(job) | changes))
    assert not any(load(tmp_path).counts().values())
    assert "remove the folder" in caplog.text
    assert "s3cret" not in caplog.text


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


def test_a_result_that_is_removed_while_it_is_read_leaves_the_disk(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path) as client, over_http(client, Connections(9, service_of(client).clients).protocol) as port:
        result_of(client, id := submit_photos(client, {"a.png": PHOTO}, output="zip"))
        os.truncate(tmp_path / id / "result.zip", 1 << 30)  # more than the system takes for a client
        with connect(port) as reader:
            reader.sendall(f"GET /jobs/{id}/results HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert answer_on(reader).status == 200
            assert client.delete(f"/jobs/{id}").status_code == 204
            wait_until(lambda: not [path for path in Path("/proc/self/fd").iterdir() if id in os.path.realpath(path)])


def test_results_are_read_and_removed_at_once_without_an_error_of_the_service(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Removed(ResultResponse):
        """Its file goes before it is opened."""

        async def __call__(self, *arguments: Any) -> None:
            Path(self.path).unlink()
            await super().__call__(*arguments)

    with serve(jobs_dir=tmp_path) as client, ThreadPoolExecutor(4) as pool:
        for _ in range(9):
            result_of(client, id := submit_photos(client, {"a.png": PHOTO}, output="zip"))
            answers = [pool.submit(client.get, f"/jobs/{id}/results") for _ in range(9)]
            answers.append(pool.submit(client.delete, f"/jobs/{id}"))
            assert {answer.result().status_code for answer in answers} <= {200, 204, 404}
        result_of(client, id := submit_photos(client, {"a.png": PHOTO}, output="zip"))
        monkeypatch.setattr("app.api.jobs.ResultResponse", Removed)
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "no longer there")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "message",
    [b"no JSON", b'{"kind": "error", "type": "unexpected", "message": "a"}',
     b'{"kind": "error", "type": "DamagedImage", "message": "\\ud800"}'],
    ids=str,
)  # fmt: skip
def test_a_process_that_a_scene_took_over_has_the_submission_refused_in_words(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr("model.inference.processes.scene_process.MODULE", "tests.support.app.hostile_scene")
    with serve(jobs_dir=tmp_path) as client:
        assert_problem(client.post("/jobs", params={"output": "tif"}, content=message), 422, "")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_plan_ends_at_its_limit_of_processor_time(
    serve: Serve, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.inference.processes.scene_process.MODULE", "tests.support.app.endless_plan")
    with serve(jobs_dir=tmp_path) as client:
        response = client.post("/jobs", params={"output": "tif"}, content=scene.read_bytes())
        assert_problem(response, 422, "needs too much memory or time to be opened")


@pytest.mark.parametrize("message", [b'{"kind": "tile"}', b'{"kind": "answer"}'], ids=str)
def test_a_process_that_a_scene_took_over_fails_the_job_in_words(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr("model.inference.processes.scene_process.MODULE", "tests.support.app.hostile_scene")
    monkeypatch.setattr("app.serving.jobs.runner.MOST_CRASHES", 1)
    with serve(jobs_dir=tmp_path) as client:
        id = submit(client, b'{"kind": "plan", "tiles": 9, "remark": ""}\n' + message, output="tif")
        document = ended(client, id)
        assert document["status"] == "failed", document
        assert document["message"]
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "has no result")


ROUNDS = 9
FLOOR_S = 0.05  # a thread that computes has the interpreter for 5 ms at a time, and an answer needs several of them


@compares_times
@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_beside_each_attack_others_wait_at_most_twice_as_long_as_alone(tmp_path: Path, kind: str) -> None:
    """Medians of a health check, and of a photo of 12 megapixels. Another client's job is accepted, and has its turn."""
    photo, output = encode(make_photo(3000, 4000), "JPEG"), tmp_path / "statuses"
    with fcn_serve(Path("voc-fcn8s-mobilenet-v2"), tmp_path, tile=512, threads=0, jobs_dir=tmp_path / "jobs") as service:
        service.post(photo)
        alone = medians(service, photo)
        command = [sys.executable, "-m", "tests.support.app.attacks", kind, str(service.port)]
        with output.open("w") as file, subprocess.Popen(command, stdout=file) as attack:
            try:
                wait_until(lambda: output.stat().st_size > 0 or attack.poll() is not None)
                beside = medians(service, photo)
                job = httpx.post(f"{service.url}/jobs?output=zip", content=PHOTO, timeout=HANG_S)
                assert job.status_code == 201, job.text
                end, id = time.monotonic() + LONGEST_S, job.json()["jobID"]
                while state(service.url, id) in OPEN and time.monotonic() < end:  # a photo of 92 megapixels ends before it
                    time.sleep(0.5)
                assert state(service.url, id) == "successful"
                assert attack.poll() is None
            finally:
                attack.kill()
        print(kind, alone, beside, {status: output.read_text().split().count(status) for status in output.read_text().split()})
        assert all(there <= 2 * here + FLOOR_S for here, there in zip(alone, beside, strict=True)), (alone, beside)


def medians(service: Process, photo: bytes) -> list[float]:
    """Seconds of an answer of `/health/live` and of `/segment`."""
    seconds: tuple[list[float], list[float]] = [], []
    with httpx.Client(base_url=service.url, timeout=HANG_S) as client:
        for method, path, content, times in [("GET", "/health/live", b"", 0), ("POST", "/segment", photo, 1)] * ROUNDS:
            start = time.monotonic()
            answer = client.request(method, path, content=content)
            seconds[times].append(time.monotonic() - start)
            assert answer.status_code == 200, answer.text
    return [statistics.median(each) for each in seconds]
