"""Which cores a thread runs on, where the system lets a thread choose; elsewhere it runs on all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

CHOOSES = hasattr(os, "sched_setaffinity")
MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores that this process may use: at most as many as the CPU time is worth that its control group allows."""
    cores = len(os.sched_getaffinity(os.getpid())) if CHOOSES else os.cpu_count() or 1
    return max(1, int(min(_allowed(), cores)))


def keep_to_core(number: int, of: int) -> None:
    """Keeps the calling thread to one core, if the process may run on exactly so many: who has fewer threads than cores may
    share them with a process that counts alike."""
    if CHOOSES and len(every := os.sched_getaffinity(os.getpid())) == of:
        _choose({sorted(every)[number]})


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


def _allowed() -> float:
    """Seconds of CPU time a second, by the `cpu.max` of the process's group and of those above it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    lines = MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else []
    group = GROUPS / next((line[3:] for line in lines if line.startswith("0::")), "").lstrip("/")
    limits = [each / "cpu.max" for each in (group, *group.parents) if each.is_relative_to(GROUPS)]
    stated = [limit.read_text().split() for limit in limits if limit.is_file()]
    return min((int(quota) / int(period) for quota, period in stated if quota != "max"), default=inf)


def _choose(cores: set[int]) -> None:
    with suppress(OSError):  # a container may forbid it
        os.sched_setaffinity(0, cores)
