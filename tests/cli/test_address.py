"""Where `--server` is: addresses, keys and proxies that cannot be used are one line, and this machine is asked directly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.address import is_this_machine
from cli.arguments import parser
from cli.main import main
from cli.remote import Remote, ServerError, ServerUnusable
from tests.support.cli.busy_service import Busy
from tests.support.cli.folders import PHOTO, files_in, write_files
from tests.support.polling import HANG_S

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of this machine on which nobody listens while the test runs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


def run(folder: Path, server: str, *arguments: str) -> int:
    write_files(folder / "in", {f"{i}.png": PHOTO for i in range(12)})
    return main([str(folder / "in"), "-o", str(folder / "out"), "--server", server, *arguments])


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("localhost:8000", "must begin with http:// or https://"),
        ("service", "must begin with http:// or https://"),
        ("", "must begin with http:// or https://"),
        ("ftp://service", "must begin with http:// or https://"),
        ("http://", "name a host"),
        ("http://[::1", "is no address"),
        ("http://service:port", "is no address"),
        ("http://service/?key=1", "without ? and #"),
    ],
)
def test_an_address_that_is_none_is_a_line(server: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, server) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "http://127.0.0.1:8000" in line


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "word\n", " word", "\x7f"])
def test_a_key_that_no_header_carries_is_a_line_without_it(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "http://127.0.0.1:1", "--api-key", key) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: --api-key must be")
    assert key.strip() not in line


BROKEN_VARIABLES = {
    "socks": {"ALL_PROXY": "socks://proxy:1080"},
    "socks5 without its package": {"ALL_PROXY": "socks5://proxy:1080"},
    "no port": {"HTTP_PROXY": "http://proxy:port"},
    "no address": {"http_proxy": "http://[::1"},
    "brackets": {"NO_PROXY": "[::1]"},
    "no certificates": {"SSL_CERT_FILE": "/nowhere/at-all"},
}


@pytest.mark.parametrize("variables", BROKEN_VARIABLES.values(), ids=BROKEN_VARIABLES)
def test_proxies_that_cannot_be_used_are_a_line(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(tmp_path, "http://service.invalid:8000") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY or SSL_CERT_FILE cannot be used")


@pytest.mark.parametrize("server", ["http://service.invalid:8000", "http://127.0.0.1:1"])
def test_a_file_of_tls_keys_that_cannot_be_written_is_named(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert run(tmp_path, server) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-segment: SSLKEYLOGFILE cannot be used for {server}: ")


@pytest.mark.parametrize("busy", [0], indirect=True)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_machine_is_asked_without_a_proxy(
    busy: Busy,
    host: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusing_port: int,
) -> None:
    if host == "127.0.0.2" and not _answers(host, busy.server_address[1]):
        pytest.skip("the service listens on 127.0.0.1 alone")
    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing_port}")
    monkeypatch.setenv("NO_PROXY", "[::1]")
    assert run(tmp_path, f"http://{host}:{busy.server_address[1]}", "--api-key", "k") == 0
    assert len(files_in(tmp_path / "out")) == 12


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("a.localhost", True), ("127.0.0.1", True), ("127.255.0.3", True),
        ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True), ("localhost.example", False), ("128.0.0.1", False),
        ("10.0.0.1", False), ("::2", False), ("service", False), ("127.example", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str, inside: bool) -> None:
    assert is_this_machine(host) == inside


def test_a_server_that_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, refusing_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, f"http://user:secret@127.0.0.1:{refusing_port}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-segment: http://127.0.0.1:{refusing_port} does not answer")
    assert "secret" not in line


@pytest.mark.parametrize(("status", "words"), [(401, "401 "), (404, "404 "), (308, "moved to http://elsewhere"), (503, "503 ")])
def test_a_service_that_answers_no_image_ends_the_run(status: int, words: str) -> None:
    with Answering([status] * (6 if status == 503 else 1)) as server:
        waits: list[float] = []
        asking = remote(server, waits)
        with pytest.raises(ServerUnusable, match=words):
            asking(b"image")
        asking.close()
    assert len(waits) == (5 if status == 503 else 0)


def test_a_service_that_is_lost_in_a_run_is_asked_again() -> None:
    with Answering([200, 0, 0, 200]) as server:
        waits: list[float] = []
        asking = remote(server, waits)
        assert [asking(b"image").body, asking(b"image").body] == [b"mask", b"mask"]
        asking.close()
    assert waits == [1, 2]


def test_refusals_in_a_row_end_the_run_and_those_among_answers_do_not() -> None:
    with Answering([200, 401, 200, *[401] * Remote.workers]) as server:
        asking = remote(server, [])
        kinds = []
        for _ in range(3 + Remote.workers):
            try:
                kinds.append(asking(b"image").body.decode())
            except ServerError as error:
                kinds.append(type(error).__name__)
        asking.close()
    assert kinds == ["mask", "ServerError", "mask", *["ServerError"] * (Remote.workers - 1), "ServerUnusable"]


class Answering:
    """Answers each request with the next status; 0 closes the connection."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(HANG_S)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.answer)

    def __enter__(self) -> Answering:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(HANG_S)
        self.listener.close()

    def answer(self) -> None:
        for status in self.statuses:
            connection, _ = self.listener.accept()
            with connection:
                body = b""
                while b"--\r\n" not in body[-8:]:
                    body += connection.recv(65536)
                if status:
                    head = f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\nConnection: close\r\n"
                    head += "Location: http://elsewhere\r\n" if status == 308 else ""
                    connection.sendall(f"{head}\r\nmask".encode())


def remote(server: Answering, waits: list[float]) -> Remote:
    return Remote(parser().parse_args(["-", "-o", "-", "--server", server.url]), sleep=waits.append)
