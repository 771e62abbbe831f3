"""How many cores and how much memory the process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.inference import cores
from model.inference.cores import available_cores, available_memory

VERSION_2 = "1:cpu:/elsewhere\n0::/above/own\n"
VERSION_1 = "12:memory:/docker/own\n4:cpu,cpuacct:/docker/own\n3:cpuset:/\n1:name=systemd:/docker\n0::/docker\n"
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
Files = dict[str, str]
"""Contents by their paths below the folder of the control groups; a path that ends with `/` is an empty folder."""


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores without control groups."""
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def write(membership: str, files: Files) -> None:
    """The control groups of this process, and the files of all groups."""
    cores.MEMBERSHIP.write_text(membership)
    for name, content in files.items():
        path = cores.GROUPS / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(f"{content}\n")


def quota(folder: str, microseconds: int, mount: str = "cpu,cpuacct") -> Files:
    """A quota of version 1."""
    return {f"{mount}/{folder}/cpu.cfs_quota_us": f"{microseconds}", f"{mount}/{folder}/cpu.cfs_period_us": "100000"}


def limit(folder: str, size: int) -> Files:
    """A limit on memory of version 1, in bytes."""
    return {f"memory/{folder}/memory.limit_in_bytes": f"{size}"}


TIGHT = quota("docker/own", 500_000) | quota("docker", 250_000) | quota(".", -1)
OTHERS = quota("docker", 100_000, "memory") | quota("other", 100_000)  # of another controller, of another process


@pytest.mark.parametrize(
    ("membership", "files", "count"),
    [
        *((VERSION_2, files, count) for files, count in [
        ({}, 64), ({"above/own/cpu.max": "max 100000"}, 64), ({"above/own/cpu.max": "200000 100000"}, 2),
        ({"above/own/cpu.max": "149000 100000"}, 1), ({"above/own/cpu.max": "5000 10000"}, 1),
        ({"above/own/cpu.max": "640000 1"}, 64), ({"above/own/cpu.max": "max 100000", "above/cpu.max": "200000 100000"}, 2),
        ({"above/own/": "", "above/cpu.max": "149000 100000"}, 1), ({"cpu.max": "300000 100000"}, 3),
        *(({"above/own/cpu.max": content}, 64) for content in
          ("", "max", "0 0", "100000 0", "100000", "nothing here", "-1 100000")),
        ]),
        *((VERSION_1, files, count) for files, count in [
        (quota("docker/own", 240_000), 2), (quota("docker/own", -1), 64), (quota("docker/own", 1 << 62), 64),
        ({"cpu/docker/own/": ""} | quota("docker", 240_000, "cpu"), 2),  # of the group above
        (quota(".", 240_000), 2), (quota("own", 240_000, "cpu"), 2),  # of its own tree, below its tree
        (TIGHT | OTHERS, 3), (TIGHT | {"docker/cpu.max": "160000 100000"}, 2),  # both versions side by side
        ]),
    ],
    ids=str,
)  # fmt: skip
def test_cores_are_as_many_as_the_time_that_the_tightest_group_allows(membership: str, files: Files, count: int) -> None:
    write(membership, files)
    assert available_cores() == count


def test_where_there_are_neither_affinity_nor_groups_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 5


@pytest.mark.parametrize(
    ("membership", "files", "most"),
    [
        (VERSION_2, {}, MACHINE), (VERSION_2, {"above/own/memory.max": "max"}, MACHINE),
        (VERSION_2, {"above/own/memory.max": "1048576"}, 1 << 20), (VERSION_2, {"above/own/memory.max": f"{1 << 60}"}, MACHINE),
        (VERSION_2, {"above/own/memory.max": "max", "above/memory.max": "1048576"}, 1 << 20),
        *((VERSION_1, limit("docker/own", most), MACHINE) for most in (0x7FFF_FFFF_FFFF_F000, (1 << 63) - 1, -1)),
        (VERSION_1, limit("docker/own", -1) | limit("docker", 1 << 21), 1 << 21),
        (VERSION_1, limit("docker/own", 1 << 20) | limit("docker", 1 << 21), 1 << 20),
    ],
    ids=str,
)  # fmt: skip
def test_memory_is_what_the_tightest_group_and_the_machine_allow(membership: str, files: Files, most: int) -> None:
    write(membership, files)
    assert available_memory() == most


def test_where_the_system_does_not_tell_its_memory_the_group_s_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    write(VERSION_2, {"above/own/memory.max": f"{1 << 60}"})
    monkeypatch.setattr(os, "sysconf_names", {})
    assert available_memory() == 1 << 60
