"""The processor, how many cores and how much memory this process may use, and how much memory and processor time it uses."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from math import floor
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
PROCESSOR = Path("/proc/cpuinfo")
MEMORY_LIMITS = ("memory.max", "memory.limit_in_bytes")  # of versions 2 and 1


def processor_name() -> str:
    """The processor's name as Linux reports it; elsewhere a name or its architecture."""
    names = _processor_values("model name")
    return names[0] if names else platform.processor() or platform.machine()  # `processor` may start a process


def cpu_flags() -> set[str]:
    """The instruction sets that Linux reports; an empty set on other systems."""
    return {flag for value in _processor_values("flags", "features") for flag in value.split()}


def _processor_values(*keys: str) -> list[str]:
    entries = (line.partition(":") for line in _text(PROCESSOR).splitlines())
    return [value.strip() for key, _, value in entries if key.strip().lower() in keys]


def available_cores() -> int:
    """The number of cores in the process's affinity, at most the CPU quota of its control group; at least 1.

    A quota is rounded, halves up: with 1.5 CPUs, OpenVINO ran 72 tiles a second on two threads and 59 on one, with 1.1 CPUs 56
    and 59 (two cores, November 2026). The affinity has the control group's `cpuset` in it.
    """
    cores = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups("cpu") if (quota := _quota(group))]
    return max(1, floor(min([cores, *quotas]) + 0.5))


def available_memory() -> int | None:
    """The machine's memory in bytes, at most the control group's limit; None where the system reports neither."""
    groups = _groups("memory")
    limits = [limit for group in groups for name in MEMORY_LIMITS for limit in _numbers(group / name) if limit > 0]
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _groups(controller: str) -> list[Path]:
    """The folders of the process's control groups that have this controller, and those of their parent groups.

    Reads versions 1 and 2, also side by side. Without a namespace of its own, a container is told its group's path from the top
    of the machine, but sees only the tree below its group; so the path's last parts count where the whole path is missing.

    https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    groups: list[Path] = []
    for line in MEMBERSHIP.read_text().splitlines() if MEMBERSHIP.exists() else ["0::/"]:
        _, controllers, path = line.split(":", 2)
        parts = [part for part in path.split("/") if part not in ("", "..")]
        if controllers and controller not in controllers.split(","):
            continue
        for mount in (GROUPS / controllers, GROUPS / controller) if controllers else (GROUPS, GROUPS / "unified"):
            paths = (mount.joinpath(*parts[first:]) for first in range(len(parts) + 1))
            if group := next((path for path in paths if path.is_dir()), None):
                groups += [folder for folder in (group, *group.parents) if folder.is_relative_to(mount)]
    return groups


def _quota(group: Path) -> float | None:
    """The CPUs that the group may use: its processor time in each period, divided by the period; None without a limit."""
    values = _numbers(group / "cpu.max") or _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
    return values[0] / values[1] if len(values) == 2 and min(values) > 0 else None


def _numbers(file: Path) -> list[int]:
    """The whole numbers in the file; none if it cannot be read. `max` is none, as is what is not a number."""
    return [int(word) for word in _text(file).split() if word.lstrip("-").isdecimal()]


def _text(file: Path) -> str:
    """The text of a file of the system; empty if it cannot be read, as where the system or the process does not exist."""
    with suppress(OSError):
        return file.read_text()
    return ""


def resident_memory() -> int | None:
    """Resident bytes of this process and its descendants, with shared pages counted once; None where Linux reports none.

    https://docs.kernel.org/filesystems/proc.html, "smaps_rollup" and "children"
    """
    sizes = [size for pid in (os.getpid(), *_descendants(os.getpid())) if (size := _proportional_size(pid)) is not None]
    return sum(sizes) if sizes else None


def resident_bytes(pid: int) -> int:
    """Resident bytes of a process; 0 where Linux does not report them. proc_pid_statm(5)"""
    pages = _numbers(Path(f"/proc/{pid}/statm"))
    return pages[1] * os.sysconf("SC_PAGE_SIZE") if pages else 0


def child_seconds() -> float | None:
    """Processor time in seconds of this process's descendants, also of those that have ended; None where none are reported.

    https://docs.kernel.org/filesystems/proc.html, table 1-4
    """
    texts = filter(None, (_text(Path(f"/proc/{pid}/stat")) for pid in _descendants(os.getpid())))
    # of the fields after the process's name, the third and later ones: user and system time of the process, and of its children
    # that have ended, which are fields 14 to 17
    stats = [text.rpartition(")")[2].split()[11:15] for text in texts]
    return sum(int(ticks) for stat in stats for ticks in stat) / os.sysconf("SC_CLK_TCK") if stats else None


def _descendants(pid: int) -> list[int]:
    """Process ids of the children, their children, and so on."""
    pids: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _numbers(file):
            pids += [child, *_descendants(child)]
    return pids


def _proportional_size(pid: int) -> int | None:
    """Resident bytes of a process, where each shared page is divided among the processes that share it."""
    lines = _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
