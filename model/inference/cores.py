"""How many cores this process may use, and the limits of its control group."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The cores of the process's affinity, at most as many as the CPU time that its control group allows is worth."""
    cores = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(control_group("cpu.max"), cores)))


def control_group(limit: str) -> float:
    """The least of this limit among the process's group and those above it; infinite where there is none.

    `cpu.max`: seconds of CPU time a second. `memory.max`: bytes. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    lines = MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else []
    group = GROUPS / next((line[3:] for line in lines if line.startswith("0::")), "").lstrip("/")
    files = [each / limit for each in (group, *group.parents) if each.is_relative_to(GROUPS)]
    stated = [file.read_text().split() for file in files if file.is_file()]
    return min((int(most) / int(*period or "1") for most, *period in stated if most != "max"), default=inf)
