"""Who sent a request: its line in the log has the client's address and the name of the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings, split_key
from tests.support.app.exchanges import PHOTO, assert_problem, post, service_of
from tests.support.app.services import Serve
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import Process, fcn_serve
from tests.support.variants import long

FORGED = "203.0.113.7"
KEYS = "# teams\nalice:one\nbob@example.com : two\nthree\nalice:four:five\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(KEYS)
    return path


NAMES = {
    "one": "alice",
    "alice:one": "alice",
    "two": "bob@example.com",
    "three": None,
    "four:five": "alice",
    "six": "carol",
    "seven": None,
}
NO_KEYS = ("alice", "alice:", "bob@example.com", "five", "four", "alice:two", ":one", "one:", "", "carol")


def fields_of(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Of the one request since the last call."""
    (fields,) = (record.fields for record in caplog.records if record.getMessage() == "request")  # type: ignore[attr-defined]
    caplog.clear()
    return dict(fields)


def test_a_request_s_line_has_the_name_of_its_key_and_a_name_is_no_key(
    serve: Serve, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(api_keys_file=str(key_file), api_keys="carol:six, seven") as client, caplog.at_level("INFO", "segment"):
        caplog.clear()
        for key, name in NAMES.items():
            assert post(client, headers={"X-API-Key": key}).status_code == 200
            fields = fields_of(caplog)
            assert fields.get("key") == name, key
            assert key not in str({each: value for each, value in fields.items() if each not in ("sha256", "request_id")})
        for wrong in NO_KEYS:
            assert_problem(post(client, headers={"X-API-Key": wrong}), 401)
            fields = fields_of(caplog)
            assert ("key" in fields, fields["client"]) == (False, "testclient"), wrong


def test_a_name_changes_with_the_file(serve: Serve, key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serve(api_keys_file=str(key_file)) as client, caplog.at_level("INFO", "segment"):
        key_file.write_text("dora:one\n")
        service_of(client).registry.reload()
        wait_until(lambda: service_of(client).registry.api_keys == ("dora:one",))
        assert post(client, headers={"Authorization": "Bearer one"}).status_code == 200
    assert [record.fields["key"] for record in caplog.records if record.getMessage() == "request"] == ["dora"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line", [":zebra", "alice:", "a b:zebra", "a\x1b[31m:zebra", "é:zebra", "x" * 65 + ":zebra", "a+b/c=:zebra", " : zebra"]
)
def test_a_colon_without_a_name_stops_the_start(line: str) -> None:
    with pytest.raises(ValueError, match=r"key 2 is not KEY or NAME:KEY") as error_info:
        Settings(api_keys=f"one,{line}")
    assert "zebra" not in str(error_info.value)


def test_a_line_is_a_key_or_a_name_and_a_key() -> None:
    assert [split_key(line) for line in ("abc", "team:abc", "team: abc", "team:a:b")] == [
        ("", "abc"), ("team", "abc"), ("team", "abc"), ("team", "a:b"),
    ]  # fmt: skip


def lines(service: Process) -> Iterator[dict[str, Any]]:
    *complete, _ = service.log.read_text().split("\n")
    return (json.loads(line) for line in complete if line.startswith("{"))


def client_of(service: Process, request_id: str) -> str:
    """The address in the log line of the request."""

    def matching() -> list[str]:
        return [line["client"] for line in lines(service) if line.get("request_id") == request_id]

    wait_until(matching)
    return matching()[0]


@pytest.mark.parametrize(
    ("proxies", "header", "client"),
    [
        *long(("", FORGED, "127.0.0.1")),
        ("10.0.0.0/8", FORGED, "127.0.0.1"),
        *long(("10.0.0.0/8, 127.0.0.0/8", FORGED, FORGED)),
        *long(("127.0.0.1", f"{FORGED}, 198.51.100.2", "198.51.100.2")),
        ("127.0.0.1,198.51.100.2", f"{FORGED}, 198.51.100.2", FORGED),
        *long(("127.0.0.1", "", "127.0.0.1")),
    ],
)
def test_only_a_trusted_proxy_says_who_the_client_is(
    proxies: str, header: str, client: str, narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own variable
    with fcn_serve(narrow_file, tmp_path, **({"trusted_proxies": proxies} if proxies else {})) as service:
        headers = {"X-Request-ID": "mine", "X-Forwarded-For": header}
        assert httpx.post(f"{service.url}/segment", content=PHOTO, headers=headers, timeout=HANG_S).status_code == 200
        assert client_of(service, "mine") == client


def test_what_a_trusted_proxy_passes_on_stays_on_its_line(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, trusted_proxies="127.0.0.1", log_format="json") as service:
        headers = [(b"X-Request-ID", b"mine"), (b"X-Forwarded-For", b'\x1b[31m", "level": "critical' + b"x" * 1000)]
        with httpx.Client(timeout=HANG_S) as client:
            assert client.get(f"{service.url}/classes", headers=headers).status_code in (200, 400)
            client.get(f"{service.url}/classes", headers={"X-Request-ID": "next"})
        assert client_of(service, "next") == "127.0.0.1"
        assert "\x1b" not in service.log.read_text()
        assert {line["level"] for line in lines(service)} <= {"info", "warning"}  # a parser may refuse it, and says so
        assert max(len(line.get("client", "")) for line in lines(service)) <= 303
