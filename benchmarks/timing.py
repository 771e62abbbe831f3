"""How long a call takes, over and over."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP = 2


def milliseconds(call: Callable[[], object], times: int, warm_up: int = WARM_UP) -> list[float]:
    """What each of so many calls takes, after some that are not counted."""
    found = []
    for _ in range(warm_up + times):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1000)
    return found[warm_up:]
