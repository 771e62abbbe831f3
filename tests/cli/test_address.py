"""Where `--server` is: addresses, keys and proxies that cannot be used are one line, and this machine is asked directly."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.address import VARIABLES
from cli.main import main
from tests.support.cli.folders import PHOTO, files_in, write_files
from tests.support.cli.scripted_server import MASK, scripted
from tests.support.proxy_variables import BROKEN_VARIABLES, remove_proxies


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_proxies(monkeypatch)


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
        ("", "must begin with http:// or https://"),
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


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", " word"])
def test_a_key_that_no_header_carries_is_a_line_without_it(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "http://127.0.0.1:1", "--api-key", key) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: --api-key must be")
    assert key.strip() not in line


@pytest.mark.parametrize("variables", BROKEN_VARIABLES.values(), ids=BROKEN_VARIABLES)
def test_proxies_that_cannot_be_used_are_a_line(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(tmp_path, "http://service.invalid:8000") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-segment: {VARIABLES} cannot be used for http://service.invalid:8000: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing_port: int
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing_port}")
    monkeypatch.setenv("NO_PROXY", "[::1]")
    with scripted(MASK) as server:
        assert run(tmp_path, f"http://{host}:{server.server_port}", "--api-key", "k") == 0
    assert len(files_in(tmp_path / "out")) == 12
    assert {key for _, key in server.requests} == {"k"}


def test_a_server_that_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, refusing_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, f"http://user:secret@127.0.0.1:{refusing_port}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-segment: http://127.0.0.1:{refusing_port} does not answer")
    assert "secret" not in line
