"""Items that a thread computes ahead: in their order, a bounded number, and no thread stays."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from imaging.prefetching import prefetch
from tests.support.polling import wait_until


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("numbers")]


def numbers(computed: list[int], last: int = 1000, error: Exception | None = None) -> Generator[int]:
    try:
        for number in range(last):
            computed.append(number)
            yield number
        if error:
            raise error
    finally:
        computed.append(-1)


def test_items_come_in_order_and_so_does_an_error() -> None:
    items = prefetch(numbers([], 5, OSError("no room")), 3, "numbers")
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="no room"):
        next(items)
    assert not threads()


def test_a_bounded_number_is_computed_ahead_and_closing_ends_the_thread() -> None:
    computed: list[int] = []
    items = prefetch(numbers(computed), 3, "numbers")
    assert next(items) == 0
    wait_until(lambda: len(computed) == 4)
    assert next(items) == 1
    wait_until(lambda: len(computed) == 5)
    items.close()
    assert computed == [0, 1, 2, 3, 4, -1]
    assert not threads()


def test_closing_tells_the_item_in_work_to_stop() -> None:
    ended, begun = threading.Event(), threading.Event()

    def waiting() -> Generator[int]:
        yield 0
        begun.set()
        ended.wait()

    items = prefetch(waiting(), 1, "numbers", ended)
    assert next(items) == 0
    begun.wait()
    items.close()
    assert not threads()
