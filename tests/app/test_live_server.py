"""`fcn-serve` as a process: how it starts, reloads, drains and stops, and what it does not do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.server import serve
from app.settings import Settings
from tests.app.asking import PHOTO, connected, head
from tests.conftest import ROOT, encoded, free_port, make_photo, wait_for, wait_until_ready

LARGE = encoded(make_photo(1500, 2000), "JPEG")


class Process:
    """`fcn-serve`, its address and its log."""

    def __init__(self, weights: Path, log: Path, **settings: str) -> None:
        self.port = free_port()
        given = {"WEIGHTS": weights, "PORT": self.port, "DEVICE": "cpu", "RUNTIME": "openvino", "TILE": "96", "THREADS": "1"}
        environment = os.environ | {f"SEGMENT_{name}": str(value) for name, value in (given | settings).items()}
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-m", "app.main"], env=environment, stderr=file, stdout=file)
        self.url = f"http://127.0.0.1:{self.port}"

    def messages(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["message"] for line in lines if line.startswith("{")]  # OpenVINO writes there as well

    def signal(self, kind: signal.Signals) -> None:
        self.process.send_signal(kind)

    def post(self, data: bytes = PHOTO, **query: object) -> httpx.Response:
        return httpx.post(f"{self.url}/segment", params=query, content=data, timeout=60)


@contextmanager
def fcn_serve(weights: Path, folder: Path, *, ready: bool = True, **settings: str) -> Iterator[Process]:
    running = Process(weights, folder / "log", **settings)
    try:
        if ready:
            wait_until_ready(running.url, running.process, 60)
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_on_sigterm_what_is_in_flight_is_answered_and_new_images_are_refused(narrow_file: Path, tmp_path: Path) -> None:
    with (
        fcn_serve(narrow_file, tmp_path) as it,
        ThreadPoolExecutor() as pool,
        httpx.Client(base_url=it.url, timeout=60) as other,
    ):
        broken = {"content": b"--y", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
        assert other.post("/segment", **broken).status_code == 400
        large = pool.submit(it.post, LARGE, side=2000)
        wait_for(lambda: other.get("/health").json()["queued_tiles"] > 0)
        it.signal(signal.SIGTERM)
        wait_for(lambda: other.get("/health/ready").status_code == 503)
        assert other.get("/health/live").status_code == 200
        refused = other.post("/segment", content=PHOTO)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "draining" in refused.json()["detail"]
        assert large.result().status_code == 200
        assert it.process.wait(30) == 0
    assert len(it.messages()) == len(it.log.read_text().splitlines())
    assert {"listening", "ready", "request", "draining"} <= set(it.messages())


@contextmanager
def stalled(it: Process) -> Iterator[None]:
    """An upload that never ends, in flight."""
    with connected(it.port) as connection:
        connection.sendall(head(1000) + b"abc")
        wait_for(lambda: httpx.get(f"{it.url}/health").json()["requests_in_flight"] == 1)
        yield


def test_a_drain_takes_no_longer_than_it_may(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, DRAIN_S="1", UPLOAD_TIMEOUT_S="60") as it, stalled(it):
        it.signal(signal.SIGTERM)
        started = time.monotonic()
        assert it.process.wait(60) == 0
        assert 0.9 < time.monotonic() - started < 10


def test_a_second_signal_ends_the_process_at_once(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, DRAIN_S="60", UPLOAD_TIMEOUT_S="60") as it, stalled(it):
        it.signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{it.url}/health/ready").status_code == 503)
        it.signal(signal.SIGTERM)
        started = time.monotonic()
        it.process.wait(60)
        assert time.monotonic() - started < 10


def test_sighup_reads_the_weights_again_and_drops_no_request(narrow_file: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.onnx"
    shutil.copy(narrow_file.with_suffix(".onnx"), weights)
    with fcn_serve(weights, tmp_path) as it, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def ask() -> set[int]:
            statuses = set()
            while not stop.is_set():
                statuses.add(it.post().status_code)
            return statuses

        asking = [pool.submit(ask) for _ in range(4)]
        try:
            it.signal(signal.SIGHUP)
            wait_for(lambda: "reloaded" in it.messages())
            weights.write_bytes(b"broken")
            it.signal(signal.SIGHUP)
            wait_for(lambda: any(message.startswith("not reloaded") for message in it.messages()))
        finally:
            stop.set()
        assert [each.result(60) for each in asking] == [{200}] * 4
        assert it.process.poll() is None


def test_health_is_answered_while_a_large_image_is_segmented(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, ROOT_PATH="/seg") as it, ThreadPoolExecutor() as pool:
        large = pool.submit(it.post, LARGE, side=2000, format="json", mask="array")
        times = []
        while not large.done():
            started = time.monotonic()
            assert httpx.get(f"{it.url}/health/live", timeout=30).status_code == 200
            times.append(time.monotonic() - started)
        assert large.result().status_code == 200
        assert len(times) > 5
        assert max(times) < 2


def test_weights_that_cannot_be_loaded_end_the_process_with_status_1_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a weights file")
    with fcn_serve(path, tmp_path, ready=False) as it:
        assert it.process.wait(60) == 1
    assert any("the network could not be loaded" in message and "broken.onnx" in message for message in it.messages())


def test_a_port_in_use_ends_the_process_with_status_1_and_the_reason(
    narrow_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve(create_app(Settings(_env_file=None, weights=str(narrow_file), port=port))) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in caplog.text
    assert serve(create_app(Settings(_env_file=None, weights=str(narrow_file), host="no.such.host.invalid"))) == 1


def test_a_lost_device_ends_the_process_with_status_1(narrow_file: Path) -> None:
    app = create_app(Settings(_env_file=None, weights=str(narrow_file), device="cpu", tile="96", port=free_port(), threads=1))
    with ThreadPoolExecutor() as pool:
        status = pool.submit(serve, app)
        wait_for(lambda: app.state.service.not_ready is None)
        app.state.service.fail("the device is broken")
        assert status.result(30) == 1


WATCHED = """
import os, signal, socket, sys, threading, time, urllib.request

def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[-1][0]
        if host not in ("127.0.0.1", None):
            print("OUTGOING", event, host, flush=True)
            raise PermissionError(host)

sys.addaudithook(hook)
try:
    socket.create_connection(("192.0.2.1", 9), 1)
except PermissionError:
    print("watched", flush=True)

from app.main import main

def ask():
    address = f"http://127.0.0.1:{os.environ['SEGMENT_PORT']}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/health/ready")
            break
        except OSError:
            time.sleep(0.05)
    photo = open(sys.argv[1], "rb").read()
    for path in ("/segment?format=overlay", "/segment?format=json&mask=polygons"):
        assert urllib.request.urlopen(address + path, photo).status == 200
    for path in ("/", "/docs", "/info", "/metrics"):
        assert urllib.request.urlopen(address + path).status == 200
    print("answered", *sorted({"torch", "torchvision", "training"} & set(sys.modules)), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ask).start()
sys.exit(main([]))
"""


def test_serving_with_openvino_opens_no_connection_and_imports_no_torch(narrow_file: Path, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(PHOTO)
    settings = {"WEIGHTS": str(narrow_file), "PORT": str(free_port()), "DEVICE": "cpu", "TILE": "96", "LOG_LEVEL": "warning"}
    environment = os.environ | {f"SEGMENT_{name}": value for name, value in settings.items()} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "photo")]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["OUTGOING socket.getaddrinfo 192.0.2.1", "watched", "answered"]
