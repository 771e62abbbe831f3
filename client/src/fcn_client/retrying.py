"""Decides when to retry, for both clients. The clients themselves only send and sleep."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import NamedTuple

import httpx

from fcn_client.errors import SegmentError, ServerBusy, connection_error, error_of

FIRST_S, MOST_S = 0.5, 20.0
LEAST_S = 0.001
POLL_S = 0.2  # between two checks whether a service is ready


class Send(NamedTuple):
    """Tells the client to send the request with this timeout, and to pass back the response or the error."""

    seconds: float


class Sleep(NamedTuple):
    """Tells the client to sleep for this many seconds."""

    seconds: float


Outcome = httpx.Response | httpx.RequestError
Attempts = Generator[Send | Sleep, Outcome | None, httpx.Response]
"""Yields the next step, receives the outcome of a `Send`, and returns the successful response."""


def attempts(retries: float, seconds: float, clock: Callable[[], float], pause: float | None = None) -> Attempts:
    """Plans the attempts of a call: retries after 503 and lost connections, at most `retries` times and within `seconds`.

    pause: seconds between attempts, whatever the service says. With None, the pause is the value of `Retry-After`; without
    that header it grows with each attempt. Raises the error of the last attempt.
    """
    end = clock() + seconds
    attempt = 0
    while True:
        outcome = yield Send(max(LEAST_S, end - clock()))
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return outcome
        error = error_of(outcome) if isinstance(outcome, httpx.Response) else _connection_error(outcome, seconds)
        wait = _wait(error, attempt) if pause is None else pause
        if not error.repeatable or attempt >= retries or clock() + wait > end:
            raise error
        yield Sleep(wait)
        attempt += 1


def _connection_error(error: httpx.RequestError | None, seconds: float) -> SegmentError:
    assert error is not None
    failure = connection_error(error, seconds)
    failure.__cause__ = error
    return failure


def _wait(error: SegmentError, attempt: int) -> float:
    if isinstance(error, ServerBusy) and error.retry_after is not None:
        return error.retry_after
    backoff: float = FIRST_S * 2.0 ** min(attempt, 16)
    return min(MOST_S, backoff) * random.uniform(0.5, 1)  # noqa: S311 (spreads clients, guards nothing)
