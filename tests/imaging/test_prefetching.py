"""Items that a thread computes ahead: in their order, a bounded number, and no thread stays."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from imaging.prefetching import prefetch
from tests.support.polling import wait_until


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("numbers")]


def numbers(calls: list[int], last: int = 1000, error: Exception | None = None) -> Generator[int]:
    try:
        for number in range(last):
            calls.append(number)
            yield number
        if error:
            raise error
    finally:
        calls.append(-1)


def test_items_come_in_order_and_so_does_an_error() -> None:
    items = prefetch(numbers([], 5, OSError("no room")), 3, "numbers")
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="no room"):
        next(items)
    assert not threads()


def test_a_bounded_number_is_computed_ahead_and_closing_ends_the_thread() -> None:
    calls: list[int] = []
    items = prefetch(numbers(calls), 3, "numbers")
    assert next(items) == 0
    wait_until(lambda: len(calls) == 4)
    assert next(items) == 1
    wait_until(lambda: len(calls) == 5)
    items.close()
    assert calls == [0, 1, 2, 3, 4, -1]
    assert not threads()


def test_closing_tells_the_item_in_work_to_stop() -> None:
    end, start = threading.Event(), threading.Event()

    def waiting() -> Generator[int]:
        yield 0
        start.set()
        end.wait()

    items = prefetch(waiting(), 1, "numbers", end)
    assert next(items) == 0
    start.wait()
    items.close()
    assert not threads()
