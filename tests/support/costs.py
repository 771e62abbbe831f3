"""What work costs beside other work in the same process: no test knows how fast a machine is, or how busy."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

compares_times = pytest.mark.flaky(reruns=2)
"""Marks a test that compares times of one run. It runs up to three times, since a busy machine can fail it once."""


def cpu_seconds(work: Callable[[], object], tries: int = 3) -> float:
    """The least processor time of this thread that it takes, of several tries; other threads and processes do not count."""
    best = float("inf")
    for _ in range(tries):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best


@asynccontextmanager
async def noted_passes() -> AsyncIterator[list[float]]:
    """The processor time of this thread in each pass of the event loop, in which all that is ready has a turn."""
    passes = list[float]()

    async def note() -> None:
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            passes.append(time.thread_time() - start)

    task = asyncio.create_task(note())
    try:
        yield passes
    finally:
        task.cancel()


def threads_of(work: Callable[[], object]) -> tuple[int, int]:
    """The threads of this process before work is repeated, and the most during it. Linux alone tells them."""
    counts, end = [], threading.Event()

    def count() -> None:
        while not end.wait(0.002):
            counts.append(len(os.listdir("/proc/self/task")))

    counter = threading.Thread(target=count)
    counter.start()
    before = len(os.listdir("/proc/self/task"))
    while len(counts) < 10:  # a busy machine may give the counter no turn in one piece of work
        work()
    end.set()
    counter.join()
    return before, max(counts)
