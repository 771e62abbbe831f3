"""How many cores and how much memory this process may use, and how much memory and processor time it uses."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Literal

MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The number of cores in the process's affinity, at most the CPU quota of its control group; at least 1."""
    cores = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [line.split() for line in _limits("cpu.max")]
    quota = min((int(most) / int(period) for most, period in limits if most != "max"), default=inf)
    return max(1, int(min(quota, cores)))


def available_memory() -> int | None:
    """The machine's memory in bytes, at most the control group's limit; None where the system reports neither."""
    limits = [int(limit) for limit in _limits("memory.max") if limit.strip() != "max"]
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _limits(name: str) -> list[str]:
    """Contents of the files of this name in the process's control group and its parent groups.

    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    lines = MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else []
    group = GROUPS / next((line[3:] for line in lines if line.startswith("0::")), "").lstrip("/")
    files = [folder / name for folder in (group, *group.parents) if folder.is_relative_to(GROUPS)]
    return [file.read_text() for file in files if file.is_file()]


def resident_memory() -> int | None:
    """Resident bytes of this process and its descendants, with shared pages counted once; None where Linux reports none.

    https://docs.kernel.org/filesystems/proc.html, "smaps_rollup" and "children"
    """
    sizes = [size for pid in (os.getpid(), *_descendants(os.getpid())) if (size := _proportional_size(pid)) is not None]
    return sum(sizes) if sizes else None


def process_memory(pid: int | Literal["self"] = "self") -> tuple[int, int]:
    """Bytes of a process's address space, and its resident bytes; raises `OSError` where Linux does not report them."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        size, resident = file.read().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    return int(size) * page, int(resident) * page


def child_seconds() -> float | None:
    """Processor time in seconds of this process's descendants, also of those that have ended; None where none are reported.

    https://docs.kernel.org/filesystems/proc.html, table 1-4
    """
    stats = [stat for pid in _descendants(os.getpid()) if (stat := _stat(pid)) is not None]
    # fields 14 to 17: user and system time of the process, and of its children that have ended
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / os.sysconf("SC_CLK_TCK") if stats else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the process's name: the third and later ones. None where it cannot be read."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def _descendants(pid: int) -> list[int]:
    """Process ids of the children, their children, and so on."""
    pids: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, file.read_text().split()):
                pids += [child, *_descendants(child)]
    return pids


def _proportional_size(pid: int) -> int | None:
    """Resident bytes of a process, where each shared page is divided among the processes that share it."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None
