"""What the service says in headers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

STAGE = re.compile(r"[\w.-]+", re.ASCII)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the header `Retry-After`, a number or a date (RFC 9110, section 10.2.3); None without it.

    A date is counted from the answer's own `Date` where it has one, so that the two clocks need not agree.
    """
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    if (when := _date(value)) is None:
        return None
    now = _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def timing(response: httpx.Response) -> dict[str, float]:
    """Milliseconds a stage, of `Server-Timing: decode;dur=1.2, ...`; entries without a duration are left out."""
    found: dict[str, float] = {}
    for entry in response.headers.get("Server-Timing", "").split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if STAGE.fullmatch(name) and key.lower() == "dur" and value.replace(".", "", 1).isdecimal():
                found[name] = float(value)
    return found
