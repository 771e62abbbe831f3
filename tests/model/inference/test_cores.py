"""How many cores and how much memory the process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.inference import cores
from model.inference.cores import available_cores, available_memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group of this process, which is below another, on a machine of 64 cores."""
    (tmp_path / "membership").write_text("1:cpu:/elsewhere\n0::/above/own\n")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    own = tmp_path / "groups" / "above" / "own"
    own.mkdir(parents=True)
    return own


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("149000 100000", 1),
        ("5000 10000", 1),
        ("640000 1", 64),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_cores_are_as_many_as_the_time_that_the_group_allows(group: Path, limit: str, cores: int, above: bool) -> None:
    assert available_cores() == 64
    (group / "cpu.max").write_text("max 100000\n")
    ((group.parent if above else group) / "cpu.max").write_text(f"{limit}\n")
    assert available_cores() == cores


def test_a_group_that_only_lies_at_the_top_is_found(group: Path) -> None:
    (cores.GROUPS / "cpu.max").write_text("300000 100000\n")
    group.rmdir()
    assert available_cores() == 3


def test_where_there_are_neither_affinity_nor_groups_all_cores_count(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "MEMBERSHIP", Path("none"))
    monkeypatch.setattr(cores, "GROUPS", Path("none"))
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 5


@pytest.mark.parametrize("above", [False, True])
def test_memory_is_what_the_group_and_the_machine_allow(group: Path, above: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_memory() == machine
    (group / "memory.max").write_text("max\n")
    assert available_memory() == machine
    ((group.parent if above else group) / "memory.max").write_text("1048576\n")
    assert available_memory() == 1 << 20
    ((group.parent if above else group) / "memory.max").write_text(f"{1 << 60}\n")
    assert available_memory() == machine
    monkeypatch.setattr(os, "sysconf_names", {})
    assert available_memory() == 1 << 60


@pytest.fixture
def version_1(group: Path) -> Path:
    """The folder of the mounts of version 1; the process is in the group `/docker/own` of both controllers."""
    cores.MEMBERSHIP.write_text(
        "12:memory:/docker/own\n4:cpu,cpuacct:/docker/own\n3:cpuset:/\n1:name=systemd:/docker\n0::/docker\n"
    )
    return cores.GROUPS


def write_quota(folder: Path, quota: int, period: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.parametrize(("quota", "count"), [(-1, 64), (240_000, 2), (1 << 62, 64)])
@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize("place", ["docker/own", "docker", ".", "own"], ids=["own", "above", "its own tree", "below its tree"])
def test_version_1_has_quotas_as_well(version_1: Path, quota: int, count: int, mount: str, place: str) -> None:
    if "docker" in place:
        (version_1 / mount / "docker" / "own").mkdir(parents=True)
    write_quota(version_1 / mount / place, quota)
    assert available_cores() == count


def test_the_tightest_of_the_groups_counts(version_1: Path) -> None:
    write_quota(version_1 / "cpu,cpuacct" / "docker" / "own", 500_000)
    write_quota(version_1 / "cpu,cpuacct" / "docker", 250_000)
    write_quota(version_1 / "cpu,cpuacct", -1)
    write_quota(version_1 / "memory" / "docker", 100_000)  # not this controller's
    write_quota(version_1 / "cpu,cpuacct" / "other", 100_000)  # not this process's
    assert available_cores() == 3
    (version_1 / "docker").mkdir()
    (version_1 / "docker" / "cpu.max").write_text("160000 100000\n")  # both versions side by side
    assert available_cores() == 2


@pytest.mark.parametrize("content", ["", "max", "max 100000", "0 0", "100000 0", "100000", "nothing here", "-1 100000"])
def test_a_quota_that_says_nothing_is_none(group: Path, content: str) -> None:
    (group / "cpu.max").write_text(content)
    assert available_cores() == 64


@pytest.mark.parametrize("limit", [0x7FFF_FFFF_FFFF_F000, (1 << 63) - 1, -1])
def test_memory_of_version_1_is_limited_by_the_tightest_group(version_1: Path, limit: int) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own = version_1 / "memory" / "docker" / "own"
    own.mkdir(parents=True)
    (own / "memory.limit_in_bytes").write_text(f"{limit}\n")
    assert available_memory() == machine
    (own.parent / "memory.limit_in_bytes").write_text(f"{1 << 21}\n")
    assert available_memory() == 1 << 21
    (own / "memory.limit_in_bytes").write_text(f"{1 << 20}\n")
    assert available_memory() == 1 << 20
