"""Addresses, keys and proxies that cannot be used are one error when a client is made; this machine is asked directly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fcn_client import SegmentClient
from fcn_client.address import is_this_machine
from fcn_client.images import upload_of

from tests.support import http_servers
from tests.support.client.scripted_service import Kind, both, client_of
from tests.support.proxy_variables import BROKEN_VARIABLES, remove_proxies


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_proxies(monkeypatch)


class Handler(http_servers.Handler):
    def get(self) -> None:
        self.answer(200, b"[]")


@pytest.fixture
def port() -> Iterator[int]:
    with http_servers.running(http_servers.LoopbackServer(Handler)) as server:
        yield server.server_port


@both
@pytest.mark.parametrize(
    "url",
    ["service:8000", "", "http://[::1", "http://service:port", "ftp://service", "http://service/?a=b", None, b"http://service"],
)
def test_an_address_that_is_none_is_told(kind: Kind, url: Any) -> None:
    with pytest.raises(ValueError, match=r"base_url must .*http://127\.0\.0\.1:8000"):
        kind(url)


@both
@pytest.mark.parametrize(
    ("limits", "message"),
    [({"timeout": 0}, "timeout must be above 0 s"), ({"retries": -1}, "retries at least 0"), ({"timeout": None}, "got None")],
)
def test_limits_that_leave_nothing_to_ask_are_refused(kind: Kind, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind("http://service", **limits)


def test_the_path_of_the_address_and_the_key_go_along() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=[])

    with SegmentClient("http://service/under/path", api_key="k", transport=httpx.MockTransport(answer)) as client:
        client.classes("m")
    assert str(requests[0].url) == "http://service/under/path/classes?model=m"
    assert requests[0].headers["x-api-key"] == "k"


@both
@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "word\n", " word", 5678, b"word"])
def test_a_key_that_no_header_carries_is_refused_and_not_told(kind: Kind, key: Any) -> None:
    with pytest.raises(ValueError, match=r"api_key must .*ASCII") as error_info:
        kind("http://service", api_key=key)
    assert str(key).strip() not in str(error_info.value)


@both
@pytest.mark.parametrize("variables", BROKEN_VARIABLES.values(), ids=BROKEN_VARIABLES)
def test_proxies_that_cannot_be_used_are_told(kind: Kind, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"ALL_PROXY.*NO_PROXY.*SSL_CERT_FILE or SSLKEYLOGFILE.*http://service\.invalid"):
        kind("http://service.invalid")


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(kind: Kind, host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://proxy:1080")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "[::1]")
    with client_of(kind, f"http://{host}:{port}", retries=0) as client:
        assert client.classes() == []


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
