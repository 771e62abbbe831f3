"""The log of `fcn-serve` on a terminal is text for people, and JSON elsewhere; it says where to look once it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.server import browser_url
from benchmarks.harness.serving import SERVE, free_port
from tests.support.checkout import ROOT
from tests.support.polling import HANG_S, wait_until

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")


@contextmanager
def on_a_terminal(port: int, weights: Path, **settings: str) -> Iterator[list[str]]:
    """`fcn-serve` whose standard error is a terminal; yields what it writes there, as it comes."""
    ours, theirs = pty.openpty()
    pieces: list[str] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 1 << 16):
                pieces.append(piece.decode())
        except OSError:  # the other end is closed
            return

    named_settings = {"weights": str(weights), "port": str(port), "device": "cpu", "threads": "1", **settings}
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")}
    variables |= {f"SEGMENT_{name.upper()}": value for name, value in named_settings.items()}
    process = subprocess.Popen([sys.executable, "-c", SERVE], stderr=theirs, env=variables, cwd=ROOT)
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield pieces
    finally:
        process.terminate()
        process.wait(HANG_S)
        reader.join(HANG_S)
        os.close(ours)


@pytest.mark.long
def test_on_a_terminal_the_log_is_text_that_says_where_to_look(narrow_file: Path) -> None:
    port = free_port()
    with on_a_terminal(port, narrow_file) as pieces:
        wait_until(lambda: f"INFO open http://127.0.0.1:{port}" in "".join(pieces), lambda: "".join(pieces))
        assert httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=HANG_S).status_code == 200
    assert not any(line.startswith("{") for line in "".join(pieces).splitlines())


def test_the_address_is_one_that_a_browser_opens() -> None:
    urls = {
        "0.0.0.0": "http://127.0.0.1:80",
        "": "http://127.0.0.1:80",
        "::": "http://[::1]:80",
        "fd00::7": "http://[fd00::7]:80",
        "segment.example": "http://segment.example:80",
    }
    assert {host: browser_url(host, 80) for host in urls} == urls
