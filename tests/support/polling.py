"""Waiting for a state: with a limit that only a hang reaches, by which nothing is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

HANG_S = 240  # for what must come at some time: long enough for the slowest machine
LONGEST_S = 1000  # the same, for a whole training or bench
POLL_S = 0.01


def wait_until(condition: Callable[[], bool], message: Callable[[], str] = lambda: "the condition is still false") -> None:
    """Returns once the condition is true; raises `AssertionError` after `HANG_S`, with what `message` then gives."""
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, message()
        time.sleep(POLL_S)


async def wait_until_async(condition: Callable[[], bool], message: str = "the condition is still false") -> None:
    """As `wait_until`, while the event loop goes on."""
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, message
        await asyncio.sleep(POLL_S)
