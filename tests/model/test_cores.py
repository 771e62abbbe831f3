"""Threads that keep to a core, and those that leave it for a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from model import cores
from model.cores import available_cores, keep_to_core, on_every_core

T = TypeVar("T")
pytestmark = pytest.mark.skipif(not cores.CHOOSES, reason="threads do not choose their cores on this system")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group of this process, which is below another."""
    (tmp_path / "membership").write_text("1:cpu:/elsewhere\n0::/above/own\n")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    own = tmp_path / "groups" / "above" / "own"
    own.mkdir(parents=True)
    return own


def in_a_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(30)


def mine() -> set[int]:
    return os.sched_getaffinity(0)


def test_a_thread_keeps_to_the_core_of_its_number_and_others_do_not() -> None:
    every, count = sorted(mine()), len(mine())

    def kept(number: int) -> set[int]:
        keep_to_core(number, count)
        return mine()

    assert [in_a_thread(lambda number=number: kept(number)) for number in range(count)] == [{core} for core in every]
    assert mine() == set(every)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_thread_of_fewer_or_more_than_there_are_cores_runs_on_all(more: int) -> None:
    every = mine()

    def kept() -> set[int]:
        keep_to_core(0, len(every) + more)
        return mine()

    assert in_a_thread(kept) == every


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 1), ("5000 10000", 1), ("640000 1", 64)],
)
@pytest.mark.parametrize("above", [False, True])
def test_cores_are_as_many_as_the_time_that_the_group_allows(
    group: Path, monkeypatch: pytest.MonkeyPatch, limit: str, allowed: int, above: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert available_cores() == 64
    (group / "cpu.max").write_text("max 100000\n")
    ((group.parent if above else group) / "cpu.max").write_text(f"{limit}\n")
    assert available_cores() == allowed


def test_a_group_that_only_lies_at_the_top_is_found(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (cores.GROUPS / "cpu.max").write_text("300000 100000\n")
    group.rmdir()
    assert available_cores() == 3


def test_what_a_kept_thread_starts_on_every_core_may_go_anywhere() -> None:
    every = mine()

    def kept() -> tuple[set[int], set[int], set[int]]:
        keep_to_core(0, len(every))
        found: list[set[int]] = []
        helper = threading.Thread(target=lambda: found.append(mine()))
        with on_every_core():
            inside = mine()
            helper.start()
            helper.join()
        return found[0], inside, mine()

    assert in_a_thread(kept) == (every, every, {min(every)})


def test_where_threads_cannot_choose_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CHOOSES", False)
    monkeypatch.setattr(cores, "MEMBERSHIP", Path("none"))
    monkeypatch.setattr(cores, "GROUPS", Path("none"))
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    for name in ("sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, name)
    keep_to_core(0, os.cpu_count() or 1)
    with on_every_core():
        assert available_cores() == 5
