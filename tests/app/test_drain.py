"""How `fcn-serve` ends on a signal: what is still answered, what is refused, and how soon it is gone."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.app.exchanges import PHOTO, answer_on, connect, head
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import LARGE, Process, fcn_serve

SEGMENTS_FOR_EVER = """
import sys, time
import model.inference.scheduler
model.inference.scheduler.finite = lambda *_: time.sleep(1e6)
from app.main import main
sys.exit(main([]))
"""
UPLOADS_FOR_EVER = """
import sys
import app.api.body
app.api.body.UPLOAD_GRACE_S = 1e6
from app.main import main
sys.exit(main([]))
"""


def test_on_sigterm_what_is_in_flight_is_answered_and_new_images_are_refused(narrow_file: Path, tmp_path: Path) -> None:
    with (
        fcn_serve(narrow_file, tmp_path, program=UPLOADS_FOR_EVER, drain_s="600", upload_timeout_s="600") as it,
        ThreadPoolExecutor() as pool,
        httpx.Client(base_url=it.url, timeout=HANG_S) as other,
    ):
        bad_form = {"content": b"--y", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
        assert other.post("/segment", **bad_form).status_code == 400
        with stall(it):  # so that the drain lasts
            large = pool.submit(it.post, LARGE, side=1000)
            wait_until(lambda: other.get("/health").json()["queued_tiles"] > 0)
            wait_until(lambda: f"open {it.url}" in it.messages())
            it.signal(signal.SIGTERM)
            wait_until(lambda: other.get("/health/ready").status_code == 503)
            assert other.get("/health/live").status_code == 200
            refusal = other.post("/segment", content=PHOTO)
            assert (refusal.status_code, refusal.headers["retry-after"], refusal.headers["connection"]) == (503, "1", "close")
            assert "draining" in refusal.json()["detail"]
            assert large.result(HANG_S).status_code == 200
        assert it.process.wait(HANG_S) == 0
    assert len(it.messages()) == len(it.log.read_text().splitlines())
    assert {"listening", "ready", "request", "draining"} <= set(it.messages())


@contextmanager
def stall(it: Process) -> Iterator[socket.socket]:
    """An upload that never ends, in flight."""
    with connect(it.port) as connection:
        connection.sendall(head(1000) + b"abc")
        wait_until(lambda: httpx.get(f"{it.url}/health", timeout=HANG_S).json()["requests_in_flight"] == 1)
        yield connection


@pytest.mark.long
def test_a_drain_takes_as_long_as_it_may_and_no_longer(narrow_file: Path, tmp_path: Path) -> None:
    settings = {"drain_s": "1", "upload_timeout_s": "600"}
    with fcn_serve(narrow_file, tmp_path, program=UPLOADS_FOR_EVER, **settings) as it, stall(it) as connection:
        start = time.monotonic()
        it.signal(signal.SIGTERM)
        answer = answer_on(connection)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert b"draining" in answer.read()
        assert time.monotonic() - start >= 1
        assert it.process.wait(HANG_S) == 0
    assert "Traceback" not in it.log.read_text()


@pytest.mark.long
def test_a_second_signal_ends_the_process_before_the_drain_does(narrow_file: Path, tmp_path: Path) -> None:
    settings = {"drain_s": "600", "upload_timeout_s": "600"}
    with fcn_serve(narrow_file, tmp_path, program=UPLOADS_FOR_EVER, **settings) as it, stall(it):
        it.signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{it.url}/health/ready", timeout=HANG_S).status_code == 503)
        it.signal(signal.SIGTERM)
        assert it.process.wait(HANG_S) == 128 + signal.SIGTERM


def test_for_the_lame_duck_time_images_are_taken_and_connections_closed_and_then_refused(
    narrow_file: Path, tmp_path: Path
) -> None:
    settings = {"lame_duck_s": "1", "drain_s": "600", "upload_timeout_s": "600"}
    with fcn_serve(narrow_file, tmp_path, program=UPLOADS_FOR_EVER, **settings) as it:
        assert "connection" not in it.post().headers
        with stall(it):  # so that the drain lasts
            start = time.monotonic()
            it.signal(signal.SIGTERM)
            wait_until(lambda: httpx.get(f"{it.url}/health/ready", timeout=HANG_S).status_code == 503)
            answer = it.post()
            if time.monotonic() - start < 1:  # the machine is not too busy
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            wait_until(lambda: it.post().status_code == 503)
            assert time.monotonic() - start >= 1
            refusal = it.post(LARGE)
            assert (refusal.status_code, refusal.headers["connection"]) == (503, "close")
        assert it.process.wait(HANG_S) == 0


@pytest.mark.long
def test_ctrl_c_leaves_the_lame_duck_time_out(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, lame_duck_s="600") as it:
        it.signal(signal.SIGINT)
        assert it.process.wait(HANG_S) == 0


def test_a_thread_that_never_comes_back_does_not_keep_the_process(narrow_file: Path, tmp_path: Path) -> None:
    settings = {"request_timeout_s": "0.5", "drain_s": "0.2"}
    with fcn_serve(narrow_file, tmp_path, program=SEGMENTS_FOR_EVER, **settings) as it:
        assert it.post().status_code == 504
        it.signal(signal.SIGTERM)
        assert it.process.wait(HANG_S) == 0
