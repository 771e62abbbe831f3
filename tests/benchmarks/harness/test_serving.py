"""Servers under measurement: those that do not come up, and what is read off those that do."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.harness import serving
from benchmarks.harness.serving import PeakMemory, Server, free_port, start_server
from tests.support.polling import HANG_S

pytestmark = pytest.mark.long
GREEDY = """
import mmap, sqlite3, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/take":
            with mmap.mmap(-1, 100_000_000) as taken:
                for start in range(0, len(taken), 4096):
                    taken[start] = 1
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("program", "patience", "words"), [("pass", 60, "ended"), ("import time; time.sleep(60)", 1, "did not answer in 1 s")]
)
def test_a_server_that_does_not_come_up_is_told(
    program: str, patience: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE_S", patience)
    with pytest.raises(RuntimeError, match=words), start_server([sys.executable, "-c", program], free_port(), "/"):
        pass


@pytest.fixture
def greedy() -> Iterator[Server]:
    """A server that takes 100 MB for a moment where `/take` is asked for, and uses SQLite."""
    port = free_port()
    with start_server([sys.executable, "-c", GREEDY, str(port)], port, "/") as server:
        yield server


def test_memory_of_a_moment_and_loaded_libraries_are_seen_and_a_paused_server_does_not_answer(
    greedy: Server,
) -> None:
    before = greedy.memory_mb()
    with PeakMemory(greedy) as peak:
        httpx.get(greedy.url + "/take", timeout=HANG_S)
    with PeakMemory(greedy) as quiet:
        httpx.get(greedy.url, timeout=HANG_S)
    taken_mb = 100
    assert quiet.risen_mb < taken_mb / 5
    assert 0.9 * taken_mb < peak.risen_mb < 1.2 * taken_mb
    assert peak.most_mb == pytest.approx(before + peak.risen_mb, abs=taken_mb / 10)
    assert greedy.memory_mb() < before + taken_mb / 5

    assert greedy.has_loaded("libsqlite3")
    assert not greedy.has_loaded("libtorch")
    greedy.pause()
    with pytest.raises(httpx.TimeoutException):
        httpx.get(greedy.url, timeout=0.3)
    greedy.resume()
    assert httpx.get(greedy.url, timeout=HANG_S).is_success
