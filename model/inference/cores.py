"""How many cores and how much memory this process may use, and how much it does."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Literal

MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The cores of the process's affinity, at most as many as the CPU time that its control group allows is worth."""
    cores = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stated = [line.split() for line in _limits("cpu.max")]
    quota = min((int(used) / int(period) for used, period in stated if used != "max"), default=inf)
    return max(1, int(min(quota, cores)))


def available_memory() -> int | None:
    """Bytes: the machine's memory, at most what the control group allows; None where neither is told."""
    limits = [int(limit) for limit in _limits("memory.max") if limit.strip() != "max"]
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _limits(name: str) -> list[str]:
    """What the files of this name say in the process's control group and in those above it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    lines = MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else []
    group = GROUPS / next((line[3:] for line in lines if line.startswith("0::")), "").lstrip("/")
    files = [each / name for each in (group, *group.parents) if each.is_relative_to(GROUPS)]
    return [file.read_text() for file in files if file.is_file()]


def resident_memory() -> int | None:
    """Bytes in memory of this process and those below it, each page that they share counted once; None where Linux tells not.

    https://docs.kernel.org/filesystems/proc.html, "smaps_rollup" and "children"
    """
    sizes = [size for pid in (os.getpid(), *_descendants(os.getpid())) if (size := _proportional_size(pid)) is not None]
    return sum(sizes) if sizes else None


def process_memory(pid: int | Literal["self"] = "self") -> tuple[int, int]:
    """Bytes of a process's address space, and of what is resident of it; raises `OSError` where Linux tells not."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        size, resident = file.read().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    return int(size) * page, int(resident) * page


def child_seconds() -> float | None:
    """Seconds of processor time of the processes below this one, those that have ended included; None where Linux tells not.

    https://docs.kernel.org/filesystems/proc.html, table 1-4
    """
    stats = [stat for pid in _descendants(os.getpid()) if (stat := _stat(pid)) is not None]
    # user and system time of its own, and of its children that have ended: the 14th to 17th field
    return sum(int(each) for stat in stats for each in stat[11:15]) / os.sysconf("SC_CLK_TCK") if stats else None


def _stat(pid: int) -> list[str] | None:
    """The fields behind the name of /proc/PID/stat, from the third on."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, file.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _proportional_size(pid: int) -> int | None:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None
