"""Parses headers of the service's responses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

STAGE = re.compile(r"[\w.-]+", re.ASCII)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by the header `Retry-After`, which holds a number or a date (RFC 9110, section 10.2.3); else None.

    A date is compared with the response's own `Date` header, if there is one, so that the two clocks need not agree.
    """
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    if (retry_date := _date(value)) is None:
        return None
    now = _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (retry_date - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def object_facts(response: httpx.Response) -> dict[str, tuple[int, ...] | int | None]:
    """What the service says of a picture's object, the pixels of its classes.

    Of a cut-out its `box` (left, top, width, height), None if there is none; of other pictures `object_pixels`, their number.
    Raises `ValueError` for headers that are not the service's.
    """
    box, pixels = (response.headers.get(name) for name in ("X-Object-Box", "X-Object-Pixels"))
    if box:
        return {"box": None if box == "none" else tuple(map(int, box.split(",")))}
    return {"object_pixels": int(pixels)} if pixels else {}


def timing(response: httpx.Response) -> dict[str, float]:
    """Milliseconds per stage, from `Server-Timing: decode;dur=1.2, ...`. Entries without a duration are skipped."""
    durations: dict[str, float] = {}
    for entry in response.headers.get("Server-Timing", "").split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if STAGE.fullmatch(name) and key.lower() == "dur" and value.replace(".", "", 1).isdecimal():
                durations[name] = float(value)
    return durations
