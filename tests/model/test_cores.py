"""Threads that keep to a core, and those that leave it for a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from model import cores
from model.cores import available_cores, keep_to_core, on_every_core

T = TypeVar("T")
pytestmark = pytest.mark.skipif(not cores.CHOOSES, reason="threads do not choose their cores on this system")


def in_a_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(30)


def mine() -> set[int]:
    return os.sched_getaffinity(0)


def test_a_thread_keeps_to_the_core_of_its_number_and_others_do_not() -> None:
    every, count = sorted(mine()), available_cores()
    assert count == len(every)

    def kept(number: int) -> set[int]:
        keep_to_core(number, count)
        return mine()

    assert [in_a_thread(lambda number=number: kept(number)) for number in range(count)] == [{core} for core in every]
    assert mine() == set(every)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_thread_of_fewer_or_more_than_there_are_cores_runs_on_all(more: int) -> None:
    every = mine()

    def kept() -> set[int]:
        keep_to_core(0, available_cores() + more)
        return mine()

    assert in_a_thread(kept) == every


def test_what_a_kept_thread_starts_on_every_core_may_go_anywhere() -> None:
    every = mine()

    def kept() -> tuple[set[int], set[int], set[int]]:
        keep_to_core(0, available_cores())
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
    for name in ("sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, name)
    keep_to_core(0, available_cores())
    with on_every_core():
        assert available_cores() == os.cpu_count()
