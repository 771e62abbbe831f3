"""Jobs of a service that is killed or stopped, in each of their states, and a folder in which anything may stand."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.serving.jobs import folders, runner, store
from app.serving.jobs.job import WORK, Job, now
from tests.app.jobs.test_failures import state
from tests.support.app.exchanges import PHOTO, assert_problem, samples, service_of
from tests.support.app.jobs import result_of, stored_jobs, submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.imaging.scenes import UTM
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

ID = "0123456789abcdef" * 2
STATES: dict[str, Callable[[Path], Iterable[object]]] = {
    "uploading": lambda root: root.glob(f"*/{WORK}/000000"),
    "planned": lambda root: [*root.glob("*/.job.json*"), *root.glob("*/job.json")],
    "waiting": lambda root: root.glob("*/job.json"),
    "running photo": lambda root: root.glob(f"*/{WORK}/*.part"),
    "running scene": lambda root: (path for path in root.glob(f"*/{WORK}/*.rows") if path.stat().st_size > 1000),
    "writing": lambda root: [*root.glob(f"*/{WORK}/.result*"), *root.glob("*/.result*"), *root.glob("*/result*")],
    "ended": lambda root: root.glob("*/result.*"),
    "dismissed": lambda root: root.glob("*/job.json"),
}
"""What shows that a job is in a state; the shorter ones may be over then."""
FORM = {"format": "confidence", "extent": f"448010,5410100,448600,5411900,{UTM}"}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["tif,gpkg", "zip"])
def test_a_kill_in_each_state_loses_nothing_and_doubles_nothing(
    narrow_file: Path, long_scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path, kind: str
) -> None:
    root, ids, results = tmp_path / "jobs", list[str](), set[tuple[bytes, ...]]()
    names = [f"result.{output}" for output in kind.split(",")]
    photos = [("file", (f"{index}.png", PHOTO)) for index in range(40)]
    sent: dict[str, Any] = {"content": long_scene.read_bytes()} if kind != "zip" else {"files": photos}
    other, query = ("running photo", FORM | {"output": kind}) if kind != "zip" else ("running scene", {"output": kind})
    for name in [*(name for name in STATES if name != other), "the last"]:
        with fcn_serve(narrow_file, tmp_path, jobs_dir=root, precision="float32") as server, ThreadPoolExecutor(2) as pool:
            jobs = f"{server.url}/jobs"
            for job in ids:
                wait_until(lambda: state(server.url, job) == "successful")  # noqa: B023
                wait_until(lambda: {path.name for path in (root / job).iterdir()} == {"job.json", *names})  # noqa: B023
                results.add(tuple((root / job / each).read_bytes() for each in names))
                httpx.delete(f"{jobs}/{job}", timeout=HANG_S)
            assert [path.name for path in root.iterdir()] == [".lock"], name
            if name == "the last":
                break
            sending = pool.submit(httpx.post, jobs, params=query, timeout=HANG_S, **sent)
            wait_until(lambda: any(STATES[name](root)))  # noqa: B023
            if name == "dismissed":
                pool.submit(httpx.delete, f"{jobs}/{sending.result().json()['jobID']}", timeout=HANG_S)
                wait_until(lambda: not any(root.glob("*/job.json")))
            server.signal(signal.SIGKILL)
            server.process.wait()
            ids = [path.parent.name for path in root.glob("*/job.json")]
            with suppress(httpx.HTTPError):
                assert name == "dismissed" or sending.result().json()["jobID"] in ids
    assert len(results) == 1
    options = {".tif": ("--format", "confidence"), ".gpkg": ()}
    wanted = (bytes_of(long_scene, ending, "--extent", FORM["extent"], *words) for ending, words in options.items())
    assert kind == "zip" or results == {tuple(wanted)}


@pytest.mark.long
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_ends_the_service_fails_after_three_times_and_one_in_a_service_that_is_stopped_does_not(
    narrow_file: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    stuck = "async def stuck(*_): await asyncio.sleep(3600)"
    program = f"import asyncio, app.main as main\n{stuck}\nmain.segment_photos = stuck\nmain.main([])"
    for crashes in range(1, runner.MOST_CRASHES + 2):
        with fcn_serve(narrow_file, tmp_path, jobs_dir=tmp_path / "jobs", program=program) as server:
            if crashes == 1:
                httpx.post(f"{server.url}/jobs", params={"output": "zip"}, content=PHOTO, timeout=HANG_S)
            counted = min(crashes, runner.MOST_CRASHES if stop == signal.SIGKILL else 1)
            has_ended = crashes > counted and stop == signal.SIGKILL
            wait_until(lambda: (job := stored_jobs(tmp_path / "jobs")[0]).crashes == counted and job.is_open != has_ended)  # noqa: B023
            server.signal(stop)
            server.process.wait()
    (job,) = stored_jobs(tmp_path / "jobs")
    assert job.crashes == (runner.MOST_CRASHES if stop == signal.SIGKILL else 0)
    assert job.is_open or "its process or the service ended again and again" in job.message


def test_the_service_answers_before_the_jobs_are_read(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = threading.Event()

    def read(*args: object) -> object:
        assert reading.wait(HANG_S)
        return folders.read_jobs(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "read_jobs", read)
    (tmp_path / ID).mkdir()
    Job(ID, "", "a", "zip", {}, "m", "0", "successful", now(), finished=now()).save(tmp_path / ID)
    with serve(jobs_dir=tmp_path, reads_jobs=False) as client:
        assert client.post("/segment", content=PHOTO).status_code == 200
        for response in (client.get(f"/jobs/{ID}"), client.post("/jobs", params={"output": "zip"}, content=PHOTO)):
            assert_problem(response, 503, "the jobs of the folder are being read")
            assert response.headers["retry-after"] == "1"
        known = [sample.name for sample in samples(client) if sample.name.startswith("segment_jobs")]
        reading.set()
        wait_until(lambda: client.get(f"/jobs/{ID}").status_code == 200)
        assert known == ["segment_jobs_max_bytes"]
        assert {"status": "successful"} in [sample.labels for sample in samples(client) if sample.value == 1]


@pytest.mark.parametrize("kind", ["link", "pipe", "huge", "deep", "foreign"])
def test_whatever_stands_in_the_folder_the_jobs_are_read(serve: Serve, tmp_path: Path, kind: str) -> None:
    (folder := tmp_path / ID).mkdir()
    file = folder / "job.json"
    if kind == "link":
        file.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "foreign":
        (folder / "a.jpg").touch()
    else:
        file.write_bytes((b"[" if kind == "deep" else b" ") * (900_000 if kind == "deep" else 2 << 20))
    with serve(jobs_dir=tmp_path) as client:
        assert client.get(f"/jobs/{ID}").status_code == 404
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))
    assert folder.is_dir()


def test_a_photo_that_is_a_pipe_holds_nobody(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path) as client, hold_model(service_of(client)):
        id = submit_photos(client, {"a.png": PHOTO, "b.png": PHOTO}, output="zip")
    (pipe := tmp_path / id / WORK / "000001").unlink()
    os.mkfifo(pipe)
    with serve(jobs_dir=tmp_path) as client:
        result_of(client, id)


@pytest.mark.parametrize("output", ["zip", pytest.param("tif", marks=pytest.mark.long)])
def test_deletes_in_any_state_leave_nothing_and_end_no_other_job(
    serve: Serve, scene: Path, tmp_path: Path, output: str
) -> None:
    rng, photos = random.Random(1), [("file", (f"{index}.png", PHOTO)) for index in range(3)]
    sent: dict[str, Any] = {"files": photos} if output == "zip" else {"content": scene.read_bytes()}
    with serve(jobs_dir=tmp_path) as client, ThreadPoolExecutor(4) as pool:
        for _ in range(30):
            ids = [client.post("/jobs", params={"output": output}, **sent).json()["jobID"] for _ in range(2)]
            time.sleep(rng.uniform(0, 0.5 if output == "zip" else 2))
            calls = [(method, f"/jobs/{id}{end}") for method, end in (("DELETE", ""), ("GET", "/results")) for id in ids * 2]
            answers = list(pool.map(lambda call: client.request(*call).status_code, calls))
            assert set(answers) <= {200, 204, 404}, answers
            assert [client.get(f"/jobs/{id}").status_code for id in ids] == [404, 404]
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        assert not service_of(client).jobs.used_bytes()  # type: ignore[union-attr]
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))
