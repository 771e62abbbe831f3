"""When to ask again: decided here for both clients, which only send and sleep."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import NamedTuple

import httpx

from fcn_client.errors import SegmentError, ServerBusy, error_of, lost

FIRST_S, MOST_S = 0.5, 20.0
LEAST_S = 0.001
POLL_S = 0.2  # between questions whether a service is ready


class Send(NamedTuple):
    """Send the request, and give what comes of it within so many seconds."""

    seconds: float


class Sleep(NamedTuple):
    """Sleep so many seconds."""

    seconds: float


Outcome = httpx.Response | httpx.RequestError
Attempts = Generator[Send | Sleep, Outcome | None, httpx.Response]
"""What to do next; takes what came of a `Send`; returns the answer."""


def attempts(retries: float, seconds: float, clock: Callable[[], float], pause: float | None = None) -> Attempts:
    """Asks again after 503 and lost connections, at most `retries` times and until `seconds` have passed.

    pause: seconds between attempts whatever the service says; else what `Retry-After` says, or else longer ones each time.
    Raises what the last attempt came to.
    """
    end = clock() + seconds
    attempt = 0
    while True:
        outcome = yield Send(max(LEAST_S, end - clock()))
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return outcome
        error = error_of(outcome) if isinstance(outcome, httpx.Response) else _lost(outcome, seconds)
        wait = _wait(error, attempt) if pause is None else pause
        if not error.repeatable or attempt >= retries or clock() + wait > end:
            raise error
        yield Sleep(wait)
        attempt += 1


def _lost(error: httpx.RequestError | None, seconds: float) -> SegmentError:
    assert error is not None
    found = lost(error, seconds)
    found.__cause__ = error
    return found


def _wait(error: SegmentError, attempt: int) -> float:
    if isinstance(error, ServerBusy) and error.retry_after is not None:
        return error.retry_after
    backoff: float = FIRST_S * 2.0 ** min(attempt, 16)
    return min(MOST_S, backoff) * random.uniform(0.5, 1)  # noqa: S311 (spreads clients, guards nothing)
