"""What `Retry-After` says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from fcn_client.headers import retry_after


@pytest.mark.parametrize("value", ["", "soon", "-1", "\u00b2"])
def test_a_header_that_says_nothing(value: str) -> None:
    assert retry_after(httpx.Response(503, headers=[(b"Retry-After", value.encode("latin-1"))])) is None


def test_a_date_is_counted_from_now() -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": late})) == pytest.approx(90, abs=5)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": past})) == 0


def test_a_date_is_counted_from_that_of_the_answer() -> None:
    for zone in ("GMT", "-0000"):
        headers = {"Retry-After": f"Fri, 01 Jan 2021 00:01:30 {zone}", "Date": "Fri, 01 Jan 2021 00:00:00 GMT"}
        assert retry_after(httpx.Response(503, headers=headers)) == 90
