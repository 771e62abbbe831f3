"""The processes of the installed `fcn-serve`: what its workers have imported, and that none is left behind."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.app.exchanges import PHOTO
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
COMMAND = [str(Path(sys.executable).with_name("fcn-serve"))]
FOREIGN = ("fastapi", "starlette", "uvicorn", "pydantic_core", "openvino", "torch")


def have_ended(processes: list[psutil.Process]) -> bool:
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # ended between the two questions
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def test_workers_import_neither_the_web_nor_a_runtime_are_replaced_and_end_with_the_service(
    narrow_file: Path, tmp_path: Path
) -> None:
    key = "Key-that-no-other-process-reads"
    headers = {"X-API-Key": key}
    with fcn_serve(narrow_file, tmp_path, command=COMMAND, api_keys=key) as it:

        def status() -> int:
            return httpx.post(f"{it.url}/segment", content=PHOTO, headers=headers, timeout=HANG_S).status_code

        assert [status() for _ in range(3)] == [200] * 3
        below = it.process.children(recursive=True)
        assert len(below) >= 2
        for each in below:
            files = {Path(file.path).name for file in each.memory_maps() if file.path.endswith(".so")}
            assert {name for name in FOREIGN for file in files if name in file} == set(), each.cmdline()
            assert key.encode() not in Path(f"/proc/{each.pid}/environ").read_bytes()
        # the system gives the files of such a process to root
        assert os.stat(f"/proc/{it.process.pid}/environ").st_uid == 0
        if os.getuid():
            with pytest.raises(PermissionError):
                Path(f"/proc/{it.process.pid}/environ").read_bytes()
        metrics = httpx.get(f"{it.url}/metrics", timeout=HANG_S).text
        for name in ("process_open_fds", "process_resident_memory_bytes", "segment_memory_resident_bytes"):
            assert any(line.startswith(f"{name} ") and float(line.split()[1]) > 0 for line in metrics.splitlines()), name
        for each in below:  # SIGTERM to the group ends the process that workers are forked from; another one takes its place
            each.kill()
        wait_until(lambda: have_ended(below))
        assert status() == 200
        below = it.process.children(recursive=True)
        os.killpg(it.process.pid, signal.SIGTERM)
        assert it.process.wait(HANG_S) == 0
        wait_until(lambda: have_ended(below))


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_signals_to_the_whole_group_drain_as_those_to_the_service_alone(narrow_file: Path, tmp_path: Path, name: str) -> None:
    with fcn_serve(narrow_file, tmp_path, command=COMMAND) as it:
        assert it.post().status_code == 200
        below = it.process.children(recursive=True)
        os.killpg(it.process.pid, getattr(signal, name))
        if name == "SIGHUP":  # the keys and weights are read again
            assert it.post().status_code == 200
            it.process.terminate()
        assert it.process.wait(HANG_S) == 0
        wait_until(lambda: have_ended(below))


def test_processes_that_are_stopped_end_with_a_service_that_is_killed(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, command=COMMAND) as it:
        assert it.post().status_code == 200
        below = it.process.children(recursive=True)
        for each in below:
            each.suspend()
        it.process.kill()
        it.process.wait(HANG_S)
        wait_until(lambda: have_ended(below))
