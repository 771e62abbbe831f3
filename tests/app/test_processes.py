"""The processes of the installed `fcn-serve`: what its workers have imported, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.app.asking import PHOTO
from tests.conftest import HANG_S, free_port, wait_for, wait_until_ready

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
FOREIGN = ("fastapi", "starlette", "uvicorn", "pydantic_core", "openvino", "torch")


@contextmanager
def fcn_serve(weights: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The installed command in a process group of its own, and its address."""
    port = free_port()
    settings = {"WEIGHTS": str(weights), "PORT": str(port), "DEVICE": "cpu", "RUNTIME": "openvino", "THREADS": "1"}
    variables = os.environ | {f"SEGMENT_{name}": value for name, value in settings.items()} | environment
    command = Path(sys.executable).with_name("fcn-serve")
    with subprocess.Popen([str(command)], env=variables, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url, process)
            yield process, url
        finally:
            process.kill()


def ended(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_a_worker_has_imported_neither_the_web_nor_a_runtime(narrow_file: Path) -> None:
    with fcn_serve(narrow_file) as (process, url):
        for _ in range(3):
            assert httpx.post(f"{url}/segment", content=PHOTO, timeout=HANG_S).status_code == 200
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 2
        for worker in workers:
            files = {Path(each.path).name for each in worker.memory_maps() if each.path.endswith(".so")}
            imported = {name for name in FOREIGN for file in files if name in file}
            assert imported == set(), worker.cmdline()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_to_the_whole_group_drain_as_those_to_the_service_alone(narrow_file: Path, name: str) -> None:
    with fcn_serve(narrow_file) as (process, url):
        assert httpx.post(f"{url}/segment", content=PHOTO, timeout=HANG_S).status_code == 200
        below = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, getattr(signal, name))
        if name == "SIGHUP":  # the keys and weights are read again
            assert httpx.post(f"{url}/segment", content=PHOTO, timeout=HANG_S).status_code == 200
            process.terminate()
        assert process.wait(HANG_S) == 0
        wait_for(lambda: ended(below))


def test_a_service_that_is_killed_leaves_no_process(narrow_file: Path) -> None:
    with fcn_serve(narrow_file) as (process, url):
        assert httpx.post(f"{url}/segment", content=PHOTO, timeout=HANG_S).status_code == 200
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 2
        process.kill()
        process.wait(HANG_S)
        wait_for(lambda: ended(below))


def test_workers_are_replaced_while_the_group_s_other_process_is_gone(narrow_file: Path) -> None:
    """SIGTERM to the group ends the process that workers are forked from; another one takes its place."""
    with fcn_serve(narrow_file, SEGMENT_LAME_DUCK_S="600") as (process, url):
        below = psutil.Process(process.pid).children(recursive=True)
        for each in below:
            each.kill()
        wait_for(lambda: ended(below))
        answer = httpx.post(f"{url}/segment", content=PHOTO, timeout=HANG_S)
        assert answer.status_code == 200
