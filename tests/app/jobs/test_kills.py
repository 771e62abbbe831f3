"""A service that is killed at any moment loses no job and does none twice. Takes minutes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.app.jobs.test_failures import process_of
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

KILLS = 20


@pytest.mark.long
def test_twenty_kills_lose_nothing_and_double_nothing(
    narrow_file: Path, long_scene: Path, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path
) -> None:
    """The front or the job's process is killed: while a scene comes, between jobs, in one, and while a result is written."""
    rng = random.Random(5)
    expected = {long_scene: bytes_of(long_scene, ".tif"), scene: bytes_of(scene, ".tif")}
    jobs: dict[str, Path] = {}
    for index in range(KILLS + 1):
        with fcn_serve(narrow_file, tmp_path, jobs_dir=tmp_path / "jobs", precision="float32") as server:
            for path in (long_scene, scene):
                with suppress(httpx.HTTPError):
                    response = httpx.post(
                        f"{server.url}/jobs", timeout=HANG_S, params={"output": "tif"}, content=path.read_bytes()
                    )
                    jobs[response.json()["jobID"]] = path
            if index == KILLS:
                wait_until(lambda: all(state(server.url, id) == "successful" for id in jobs))
                break
            time.sleep(rng.uniform(0, 3))
            if index % 3 == 0:
                with suppress(AssertionError, ProcessLookupError):
                    os.kill(process_of(next(reversed(jobs))), signal.SIGKILL)
                time.sleep(rng.uniform(0, 1))
            server.signal(signal.SIGKILL)
    results = {id: (tmp_path / "jobs" / id / "result.tif").read_bytes() for id in jobs}
    assert all(results[id] == expected[path] for id, path in jobs.items())
    folders = {path.name for path in (tmp_path / "jobs").iterdir() if path.is_dir()}
    assert folders == set(jobs)


def state(url: str, id: str) -> str:
    return str(httpx.get(f"{url}/jobs/{id}", timeout=HANG_S).json()["status"])
