"""Addresses, keys and proxies that cannot be used are one error when a client is made; this machine is asked directly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fcn_client import AsyncSegmentClient, SegmentClient
from fcn_client.address import is_this_machine
from fcn_client.images import upload_of

from tests.support import http_servers

Make = Callable[..., object]
kinds = pytest.mark.parametrize("kind", [SegmentClient, AsyncSegmentClient])
BROKEN_VARIABLES = {
    "socks": {"ALL_PROXY": "socks://proxy:1080"},
    "socks5 without its package": {"ALL_PROXY": "socks5://proxy:1080"},
    "no port": {"http_proxy": "http://proxy:port"},
    "brackets": {"NO_PROXY": "[::1]"},
    "no certificates": {"SSL_CERT_FILE": "/nowhere/at-all"},
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Handler(http_servers.Handler):
    def get(self) -> None:
        self.answer(200, b"[]")


@pytest.fixture
def port() -> Iterator[int]:
    with http_servers.running(http_servers.LoopbackServer(Handler)) as server:
        yield server.server_port


@kinds
@pytest.mark.parametrize(
    "url", ["service:8000", "", "http://", "http://[::1", "http://service:port", "ftp://service", "http://service/?a=b"]
)
def test_an_address_that_is_none_is_told(kind: Make, url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url must .*http://127\.0\.0\.1:8000"):
        kind(url)


@kinds
@pytest.mark.parametrize("url", ["https://service", "http://127.0.0.1:1"])
def test_a_file_of_tls_keys_that_cannot_be_written_is_named(
    kind: Make, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    with pytest.raises(ValueError, match=f"^SSLKEYLOGFILE cannot be used for {url}: "):
        kind(url)


@kinds
@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "word\n", " word"])
def test_a_key_that_no_header_carries_is_refused_and_not_told(kind: Make, key: str) -> None:
    with pytest.raises(ValueError, match=r"api_key must .*ASCII") as error_info:
        kind("http://service", api_key=key)
    assert key.strip() not in str(error_info.value)


@kinds
@pytest.mark.parametrize("variables", BROKEN_VARIABLES.values(), ids=BROKEN_VARIABLES)
def test_proxies_that_cannot_be_used_are_told(kind: Make, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"ALL_PROXY.*NO_PROXY.*SSL_CERT_FILE.*http://service\.invalid"):
        kind("http://service.invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> object:
        async with AsyncSegmentClient(url, retries=0) as client:
            return await client.classes()

    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "[::1]")
    url = f"http://{host}:{port}"
    with SegmentClient(url, retries=0) as client:
        assert client.classes() == []
    assert asyncio.run(ask()) == []


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("127.255.0.3", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True), ("localhost.example", False), ("10.0.0.1", False), ("::2", False), ("service", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str, inside: bool) -> None:
    assert is_this_machine(host) == inside


def test_a_file_s_name_that_is_not_utf_8_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    try:
        path.write_bytes(b"image")
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    assert upload_of(path).name == "caf\ufffd.jpg"
    with path.open("rb") as file:
        assert upload_of(file).name == "caf\ufffd.jpg"
