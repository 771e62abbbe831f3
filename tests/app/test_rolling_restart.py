"""Two services behind HAProxy, restarted in turns while clients ask: no request fails."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
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
  default_backend segment
backend segment
  option httpchk GET /health/ready
  default-server check inter 200ms fall 1 rise 1
  server first 127.0.0.1:{first}
  server second 127.0.0.1:{second}
"""
SETTINGS = {"LAME_DUCK_S": "4", "DRAIN_S": "20"}
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
        wait_for(lambda: _status(url) == 200)

        def ask(kept: bool) -> Counter[int]:
            statuses: Counter[int] = Counter()
            with httpx.Client(timeout=HANG_S, headers={} if kept else {"Connection": "close"}) as client:
                while not stop.is_set():
                    statuses[client.post(f"{url}/segment", content=PHOTO).status_code] += 1
            return statuses

        pool = stack.enter_context(ThreadPoolExecutor(4))
        asking = [pool.submit(ask, i % 2 == 0) for i in range(4)]
        try:
            for i in (0, 1, 0):
                time.sleep(2)  # the proxy has seen the one that came back
                old = running[i]
                old.signal(signal.SIGTERM)
                assert old.process.wait(HANG_S) == 0
                running[i] = stack.enter_context(fcn_serve(narrow_file, folders[i], PORT=str(old.port), **SETTINGS))
        finally:
            stop.set()
        answered = sum((each.result(HANG_S) for each in asking), Counter[int]())
    assert set(answered) == {200}
    assert answered[200] > 100


def _status(url: str) -> int:
    try:
        return httpx.get(f"{url}/health/ready").status_code
    except httpx.TransportError:
        return 0
