"""Which cores a thread runs on, where the system lets a thread choose; elsewhere it runs on all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHOOSES = hasattr(os, "sched_setaffinity")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(os.getpid())) if CHOOSES else os.cpu_count() or 1


def keep_to_core(number: int, of: int) -> None:
    """Keeps the calling thread to one core, if the process has exactly so many: who has fewer threads than cores may share
    them with a process that counts alike."""
    if CHOOSES and available_cores() == of:
        _choose({sorted(os.sched_getaffinity(os.getpid()))[number]})


@contextmanager
def on_every_core() -> Iterator[None]:
    """The calling thread, and what it starts, may run on every core of the process; then the thread's own again."""
    if not CHOOSES:
        yield
        return
    own = os.sched_getaffinity(0)
    _choose(os.sched_getaffinity(os.getpid()))
    try:
        yield
    finally:
        _choose(own)


def _choose(cores: set[int]) -> None:
    with suppress(OSError):  # a container may forbid it
        os.sched_setaffinity(0, cores)
