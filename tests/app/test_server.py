"""`fcn-serve` as a process: how it starts, reloads and stops, what it does not do, and its listening socket."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.server import (
    CONNECTION_BYTES,
    MOST_AT_ONCE,
    MOST_CONNECTIONS,
    OWN_FILES,
    SILENT_S,
    UNREAD_S,
    UNSENT_BYTES,
    WORKER_FILES,
    Room,
    browser_url,
    listen,
    room_in,
    serve,
)
from app.settings import Settings
from benchmarks.harness.serving import free_port
from tests.support.app.exchanges import PHOTO
from tests.support.checkout import ROOT
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve


def test_sighup_reads_the_weights_again_and_drops_no_request(narrow_file: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.onnx"
    shutil.copy(narrow_file.with_suffix(".onnx"), weights)
    with fcn_serve(weights, tmp_path) as it, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def ask() -> set[int]:
            statuses = set()
            while not stop.is_set():
                statuses |= {it.post().status_code, httpx.get(f"{it.url}/health/ready", timeout=HANG_S).status_code}
            return statuses

        asking = [pool.submit(ask) for _ in range(4)]
        try:
            it.signal(signal.SIGHUP)
            wait_until(lambda: "reloaded" in it.messages())
            weights.write_bytes(b"broken")
            it.signal(signal.SIGHUP)
            wait_until(lambda: any(message.startswith("not reloaded") for message in it.messages()))
        finally:
            stop.set()
        assert [each.result(HANG_S) for each in asking] == [{200}] * 4
        assert it.process.poll() is None


def test_weights_that_cannot_be_loaded_end_the_process_with_status_1_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a weights file")
    with fcn_serve(path, tmp_path, ready=False) as it:
        assert it.process.wait(HANG_S) == 1
    assert any("the network could not be loaded" in message and "broken.onnx" in message for message in it.messages())


def test_a_port_in_use_ends_the_process_with_status_1_and_the_reason(
    narrow_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert serve(create_app(Settings(weights=str(narrow_file), port=port))) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in caplog.text
    assert "SEGMENT_HOST and SEGMENT_PORT choose others" in caplog.text
    for host in ("no.such.host.invalid", "a" * 64):  # the second is no host's name at all
        assert serve(create_app(Settings(weights=str(narrow_file), host=host))) == 1


WATCHED_PROGRAM = """
import os, signal, socket, sys, threading, time, urllib.request

def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[-1][0]
        local = event == "socket.connect" and isinstance(arguments[-1], str | bytes)  # between processes
        if not local and host not in ("127.0.0.1", None):
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
    for _ in range(4000):
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
    foreign = {"torch", "torchvision", "training", "rasterio", "pyogrio", "affine"}
    print("answered", *sorted(foreign & set(sys.modules)), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ask).start()
sys.exit(main([]))
"""


def test_serving_with_openvino_opens_no_connection_and_imports_no_torch_nor_gdal(narrow_file: Path, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(PHOTO)
    settings = {"WEIGHTS": str(narrow_file), "PORT": str(free_port()), "DEVICE": "cpu", "TILE": "96", "LOG_LEVEL": "warning"}
    environment = os.environ | {f"SEGMENT_{name}": value for name, value in settings.items()} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WATCHED_PROGRAM, str(tmp_path / "photo")]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["OUTGOING socket.getaddrinfo 192.0.2.1", "watched", "answered"]


def test_the_listening_socket_leaves_silent_and_unread_connections_to_the_system() -> None:
    with listen("127.0.0.1", 0) as listener:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * UNREAD_S
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"a")
                accepted, _ = listener.accept()
                with accepted:
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # rounded up to a number of retransmissions
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) >= SILENT_S


class OfIPv4(socket.socket):
    """A socket of a system without IPv6."""

    def __init__(self, family: int = socket.AF_INET, *arguments: object) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        super().__init__(family, *arguments)  # type: ignore[arg-type]


def test_every_address_is_of_both_families_and_of_ipv4_where_that_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for family, hosts in ((socket.AF_INET6, ["127.0.0.1", "::1"]), (socket.AF_INET, ["127.0.0.1"])):
        with listen("::", 0) as listener:
            assert listener.family == family
            for host in hosts:
                socket.create_connection((host, listener.getsockname()[1])).close()
        monkeypatch.setattr(socket, "socket", OfIPv4)


@pytest.mark.parametrize(
    ("files", "memory", "workers", "room"),
    [
        (96, None, 16, Room(8, 6, 6, 8)),
        (1024, None, 16, Room(298, MOST_AT_ONCE, 223, 298)),
        (1 << 16, None, 16, Room(MOST_CONNECTIONS, MOST_AT_ONCE, 1500, 21802)),
        (1 << 16, 2 << 30, 16, Room((2 << 30) // 16 // CONNECTION_BYTES, MOST_AT_ONCE, 768, 21802)),
    ],
)
def test_connections_leave_files_and_memory_for_all_else(files: int, memory: int | None, workers: int, room: Room) -> None:
    assert room_in(files, memory, workers) == room
    own_files = OWN_FILES + WORKER_FILES * workers
    assert 2 * room.connections + room.at_once + room.batch_files + own_files <= max(files, 104)
    assert room.connections * CONNECTION_BYTES * 16 <= (memory or 1 << 40)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_log_is_text() -> None:
    import pty

    program = "import logging; from app.telemetry import configure_logging; configure_logging('auto', 'info')"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", f"{program}; logging.getLogger('segment').info('ready')"]
    subprocess.run(command, stderr=theirs, cwd=ROOT, check=True, timeout=HANG_S)
    line = os.read(ours, 1 << 16).decode()
    os.close(ours)
    os.close(theirs)
    assert "INFO ready" in line
    assert not line.startswith("{")


def test_the_address_is_one_that_a_browser_opens() -> None:
    urls = {
        "0.0.0.0": "http://127.0.0.1:80",
        "": "http://127.0.0.1:80",
        "::": "http://127.0.0.1:80",  # also where there is no IPv6
        "fd00::7": "http://[fd00::7]:80",
        "segment.example": "http://segment.example:80",
    }
    assert {host: browser_url(host, 80) for host in urls} == urls
