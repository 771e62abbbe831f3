"""An event loop that rests for moments while images wait for threads anyway.

What comes and what is done meanwhile is then seen to in one go. One by one, each would take a core from a thread that
computes, find none of its code in that core's caches, and keep other threads from the interpreter for all that time.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Callable

SHORTEST_S = 0.0005


class RestingSelector(selectors.DefaultSelector):
    """Sleeps for `rest_s()` before it looks for what came, unless the event loop has something to do or a timer ends."""

    def __init__(self, rest_s: Callable[[], float]) -> None:
        super().__init__()
        self._rest_s = rest_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > SHORTEST_S:
            rest = min(self._rest_s(), timeout or float("inf"))
            if rest > SHORTEST_S:
                time.sleep(rest)
                timeout = timeout and max(0.0, timeout - rest)
        return super().select(timeout)


def resting_loop(rest_s: Callable[[], float]) -> asyncio.AbstractEventLoop:
    """An event loop that rests for as many seconds as this tells at the time; on Windows, one that does not."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(RestingSelector(rest_s))
