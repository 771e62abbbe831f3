"""The trace of a caller, from its header to the log's lines."""

from __future__ import annotations

import logging

import pytest

from app.middleware import trace_fields
from tests.support.app.exchanges import post, service_of
from tests.support.app.services import Serve

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
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with serve() as client, caplog.at_level(logging.INFO, "segment"):
        response = post(client, headers={"traceparent": GOOD})
        post(client, headers={"traceparent": GOOD[:-1]})
        monkeypatch.setattr(service_of(client).registry.get().scheduler, "submit", fail)
        post(client, headers={"traceparent": GOOD})
    fields = [record.fields for record in caplog.records if record.message in ("request", "unexpected error")]  # type: ignore[attr-defined]
    assert [each.get("trace_id") for each in fields] == [TRACE, None, TRACE, TRACE]
    assert [each.get("parent_id") for each in fields] == [PARENT, None, PARENT, PARENT]
    assert "traceparent" not in response.headers
