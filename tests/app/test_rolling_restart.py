"""Two services behind HAProxy, restarted in turns while clients ask: no request fails."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.app.asking import PHOTO
from tests.app.processes import Process, fcn_serve
from tests.conftest import HANG_S, free_port, wait_for

CONFIG = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 5s
  retries 3
  option redispatch
frontend all
  bind 127.0.0.1:{port}
  stats uri /stats
  default_backend segment
backend segment
  option httpchk GET /health/ready
  default-server check inter 200ms fall 1 rise 1
  server first 127.0.0.1:{first}
  server second 127.0.0.1:{second}
"""
SETTINGS = {"LAME_DUCK_S": "6", "DRAIN_S": "60"}
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed (apt-get install haproxy)"),
]


@contextmanager
def balanced(first: Process, second: Process, folder: Path) -> Iterator[str]:
    port = free_port()
    path = folder / "haproxy.cfg"
    path.write_text(CONFIG.format(port=port, first=first.port, second=second.port))
    with subprocess.Popen(["haproxy", "-db", "-f", str(path)], stderr=subprocess.DEVNULL) as proxy:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            proxy.terminate()


def test_two_services_restarted_in_turns_under_load_fail_no_request(narrow_file: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    stop = threading.Event()
    with ExitStack() as stack:
        running = [stack.enter_context(fcn_serve(narrow_file, folder, **SETTINGS)) for folder in folders]
        url = stack.enter_context(balanced(*running, tmp_path))
        statuses: list[int] = []

        def ask(kept: bool) -> None:
            with httpx.Client(timeout=HANG_S, headers={} if kept else {"Connection": "close"}) as client:
                while not stop.is_set():
                    statuses.append(client.post(f"{url}/segment", content=PHOTO).status_code)

        wait_for(lambda: up(url) == {"first", "second"})
        pool = stack.enter_context(ThreadPoolExecutor(4))
        asking = [pool.submit(ask, i % 2 == 0) for i in range(4)]
        try:
            for i in (0, 1, 0):
                wait_for(lambda: up(url) == {"first", "second"})  # the proxy has seen the one that came back
                more = len(statuses) + 20
                wait_for(lambda more=more: len(statuses) > more)  # type: ignore[misc]
                old = running[i]
                old.signal(signal.SIGTERM)
                assert old.process.wait(HANG_S) == 0
                running[i] = stack.enter_context(fcn_serve(narrow_file, folders[i], PORT=str(old.port), **SETTINGS))
        finally:
            stop.set()
        for each in asking:
            each.result(HANG_S)
    assert set(statuses) == {200}


def up(url: str) -> set[str]:
    """The services that the proxy takes for ready, once it answers itself."""
    try:
        rows = csv.DictReader(httpx.get(f"{url}/stats;csv", timeout=HANG_S).text.splitlines())
    except httpx.TransportError:
        return set()
    return {row["svname"] for row in rows if row["# pxname"] == "segment" and row["status"].startswith("UP")} - {"BACKEND"}
