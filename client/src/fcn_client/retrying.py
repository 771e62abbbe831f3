"""Decides when to retry, for both clients. The clients themselves only send and sleep."""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx

from fcn_client.errors import SegmentError, ServerBusy, connection_error, error_of

FIRST_S, MOST_S = 0.5, 20.0
LEAST_S = 0.001
POLL_S = 0.2  # between two checks whether a service is ready


Outcome = httpx.Response | httpx.RequestError


class Attempts:
    """The attempts of a call: retries after 503 and lost connections, at most `retries` times and within `seconds`.

    pause: seconds between attempts, whatever the service says. With None, the pause is the value of `Retry-After`; without
    that header it grows with each attempt.
    """

    def __init__(self, retries: float, seconds: float, clock: Callable[[], float], pause: float | None = None) -> None:
        self._retries, self._seconds, self._clock, self._pause = retries, seconds, clock, pause
        self._end = clock() + seconds
        self._count = 0

    @property
    def left(self) -> float:
        """Seconds for the next attempt."""
        return max(LEAST_S, self._end - self._clock())

    def pause_after(self, outcome: Outcome) -> float | None:
        """Seconds to sleep before another attempt; None after an answer 2xx. Raises the error of the last attempt."""
        if isinstance(outcome, httpx.RequestError):
            error: SegmentError = connection_error(outcome, self._seconds)
            error.__cause__ = outcome
        elif outcome.is_success:
            return None
        else:
            error = error_of(outcome)
        pause = _pause(error, self._count) if self._pause is None else self._pause
        if not error.repeatable or self._count >= self._retries or self._clock() + pause > self._end:
            raise error
        self._count += 1
        return pause


def _pause(error: SegmentError, count: int) -> float:
    if isinstance(error, ServerBusy) and error.retry_after is not None:
        return error.retry_after
    backoff: float = FIRST_S * 2.0 ** min(count, 16)
    return min(MOST_S, backoff) * random.uniform(0.5, 1)  # noqa: S311 (spreads clients, guards nothing)
