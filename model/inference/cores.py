"""How many cores this process may use."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The cores of the process's affinity, at most as many as the CPU time that its control group allows is worth."""
    cores = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(_quota(), cores)))


def _quota() -> float:
    """Seconds of CPU time a second, by the `cpu.max` of the process's group and of those above it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    lines = MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else []
    group = GROUPS / next((line[3:] for line in lines if line.startswith("0::")), "").lstrip("/")
    limits = [each / "cpu.max" for each in (group, *group.parents) if each.is_relative_to(GROUPS)]
    stated = [limit.read_text().split() for limit in limits if limit.is_file()]
    return min((int(quota) / int(period) for quota, period in stated if quota != "max"), default=inf)
