"""Who sent a request: its line in the log has the client's address and the name of the key."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.middleware import trace_fields
from app.origins import network_of
from app.settings import Settings
from tests.support.app.exchanges import assert_problem, post, service_of
from tests.support.app.services import Serve
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

FORGED = "203.0.113.7"
KEYS = "# teams\nalice:one\nbob@example.com : two\nthree\nalice:four:five\n"


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
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "keys").write_text(KEYS)
    with serve(api_keys_file=str(tmp_path / "keys"), api_keys="carol:six, seven") as client, caplog.at_level("INFO", "segment"):
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])  # of the latter, the system maps the proxy's address
def test_only_a_trusted_proxy_says_who_the_client_is_and_it_stays_on_its_line(
    narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own variable
    with fcn_serve(narrow_file, tmp_path, host=host, trusted_proxies="127.0.0.1, ::ffff:198.51.100.0/120, ::/0") as service:

        def line_of(forwarded: bytes, sender: str = "127.0.0.1") -> dict[str, Any]:
            headers = [(b"X-Request-ID", b"mine"), (b"X-Forwarded-For", forwarded)]
            before = len(service.log.read_text())
            with httpx.Client(timeout=HANG_S, transport=httpx.HTTPTransport(local_address=sender)) as client:
                client.get(f"{service.url}/classes", headers=headers)  # a parser may refuse it
                client.get(f"{service.url}/classes", headers={"X-Request-ID": "after"})
            wait_until(lambda: '"after"' in service.log.read_text()[before:])
            entries = [json.loads(line) for line in service.log.read_text()[before:].splitlines() if line.startswith("{")]
            assert {entry["level"] for entry in entries} <= {"info", "warning"}
            assert max(len(entry.get("client", "")) for entry in entries) <= 303
            return next((entry for entry in entries if entry.get("request_id") == "mine"), {})

        for client in (FORGED, f"::ffff:{FORGED}", f"{FORGED}:4711", f"[::FFFF:{FORGED}]:4711", f"::ffff:{FORGED}%eth0"):
            for proxy in ("198.51.100.2", "::ffff:198.51.100.2", "[0:0:0:0:0:ffff:c633:6402]:80", "[2001:db8::1%eth0]"):
                assert line_of(f"{client}, {proxy}".encode())["client"] == FORGED, (client, proxy)
        assert line_of(FORGED.encode(), sender="127.0.0.2")["client"] == "127.0.0.2"
        line_of(b'\x1b[31m", "level": "critical' + b"x" * 1000)
        assert "\x1b" not in service.log.read_text()


NETWORKS = {
    "10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "::FFFF:A00:1": "10.0.0.1", "::ffff:10.0.0.1%eth0": "10.0.0.1",
    "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64", "fe80::2": "fe80::/64", "unknown": "unknown",
}  # fmt: skip


def test_who_takes_a_turn_is_an_address_of_ipv4_or_a_network_of_ipv6() -> None:
    assert {host: network_of((host, 1)) for host in NETWORKS} == NETWORKS
    assert "::ffff:10.0.0.0/104" in Settings(trusted_proxies=("10.0.0.0/8",)).trusted_proxies


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
BAD = [
    "", "00", GOOD.upper(), GOOD + "-", f"{GOOD}-more", " " + GOOD, GOOD + "\n", GOOD[:-1], GOOD + "0",
    GOOD.replace("00-", "ff-", 1), GOOD.replace("00-", "0-", 1), GOOD.replace(TRACE, "0" * 32), GOOD.replace(PARENT, "0" * 16),
    GOOD.replace("-", "_"), GOOD.replace(TRACE, TRACE[:-1]), f"01-{TRACE}-{PARENT}-01more",
    GOOD.replace(TRACE, TRACE[:-1] + "\u0663"),
]  # fmt: skip


def test_a_trace_is_read_from_a_valid_header_alone() -> None:
    fields = {"trace_id": TRACE, "parent_id": PARENT}
    for good in (GOOD, GOOD[:-2] + "ff", f"cc-{TRACE}-{PARENT}-01", f"01-{TRACE}-{PARENT}-00-what-comes"):
        assert trace_fields([good]) == fields
    for bad in BAD:
        assert trace_fields([bad]) == {}, bad
    assert trace_fields([]) == trace_fields([GOOD, GOOD]) == {}


def test_a_request_s_log_lines_have_the_caller_s_trace(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as client, caplog.at_level(logging.INFO, "segment"):
        response = post(client, headers={"traceparent": GOOD})
        post(client, headers={"traceparent": GOOD[:-1]})
        monkeypatch.setattr(service_of(client).registry.get().scheduler, "submit", lambda *_: 1 / 0)
        post(client, headers={"traceparent": GOOD})
    fields = [record.fields for record in caplog.records if record.message in ("request", "unexpected error")]  # type: ignore[attr-defined]
    assert [each.get("trace_id") for each in fields] == [TRACE, None, TRACE, TRACE]
    assert [each.get("parent_id") for each in fields] == [PARENT, None, PARENT, PARENT]
    assert "traceparent" not in response.headers
