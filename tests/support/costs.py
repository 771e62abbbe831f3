"""What work costs beside other work in the same process: no test knows how fast a machine is, or how busy."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], tries: int = 3) -> float:
    """The least processor time of this thread that it takes, of several tries; other threads and processes do not count."""
    best = float("inf")
    for _ in range(tries):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best
