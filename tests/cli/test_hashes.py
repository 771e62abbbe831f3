"""A map of names in little memory: it answers as a dict does, before and after it sorts its entries."""

from __future__ import annotations

import tracemalloc

import pytest

from cli.hashes import BLOCK, HashMap


def test_a_map_answers_as_a_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.hashes.BLOCK", 1000)
    numbers, expected = HashMap(), dict[str, int]()
    for index in range(2100):
        name = f"{index % 1050}.jpg"
        numbers.set(name, (1 << 64) - 1 - index)
        expected[name] = (1 << 64) - 1 - index
    assert all(numbers.get(name) == number for name, number in expected.items())
    assert [numbers.get(name) for name in ("none", "", "caf\udce9")] == [None] * 3


def test_a_map_takes_less_memory_than_a_set_of_names() -> None:
    tracemalloc.start()
    numbers = HashMap()
    for index in range(2 * BLOCK):
        numbers.set(f"{index}.jpg", index)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2 * BLOCK * 20
