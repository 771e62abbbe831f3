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
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 1), ("5000 10000", 1), ("640000 1", 64)],
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
