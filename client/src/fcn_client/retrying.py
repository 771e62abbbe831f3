"""When to ask again: decided here for both clients, which only send and sleep."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from fcn_client.errors import ConnectionFailed, ServerBusy, error_of

BUSY = 503
FIRST_S, MOST_S = 0.5, 20.0
Outcome = httpx.Response | httpx.TransportError
Attempts = Generator[float | None, Outcome | None, httpx.Response]
"""Yields None where the request is to be sent, and takes what came of it; yields seconds to sleep; returns the answer."""


def attempts(retries: int, seconds: float, clock: Callable[[], float]) -> Attempts:
    """Asks again after 503 and lost connections, at most `retries` times and until `seconds` have passed.

    Raises what the last attempt came to: `ServerBusy`, `ConnectionFailed`, or the error of another status.
    """
    end = clock() + seconds
    for attempt in range(retries + 1):
        outcome = yield None
        assert outcome is not None
        wait = _wait(outcome, attempt)
        if wait is None or attempt == retries or clock() + wait > end:
            return _checked(outcome, wait)
        yield wait
    raise AssertionError


def _wait(outcome: Outcome, attempt: int) -> float | None:
    """Seconds until the next attempt; None where another is no use."""
    if isinstance(outcome, httpx.Response):
        if outcome.status_code != BUSY:
            return None
        if (told := retry_after(outcome)) is not None:
            return told
    backoff: float = min(MOST_S, FIRST_S * 2**attempt)
    return backoff * random.uniform(0.5, 1)  # noqa: S311 (spreads clients, guards nothing)


def _checked(outcome: Outcome, wait: float | None) -> httpx.Response:
    if isinstance(outcome, httpx.TransportError):
        raise ConnectionFailed(f"the service does not answer: {outcome or type(outcome).__name__}") from outcome
    if outcome.is_success:
        return outcome
    error = error_of(outcome)
    if isinstance(error, ServerBusy):
        error.retry_after = wait or 0.0
    raise error


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the header `Retry-After`, a number or a date (RFC 9110, section 10.2.3); None without it."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
