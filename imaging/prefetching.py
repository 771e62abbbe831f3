"""Computes the items of an iterator in a thread, ahead of the one that uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetch(items: Generator[Item, Any, Any], count: int, name: str, end: Event | None = None) -> Generator[Item]:
    """The items, none of them None, of which a thread of this name computes up to `count` ahead.

    An error of `items` comes in its turn. Close the generator if you leave it early: it sets `end`, waits for the item in
    work, which may stop at that, and closes `items`.
    """
    thread = ThreadPoolExecutor(1, name)
    try:
        futures = deque(thread.submit(next, items, None) for _ in range(count))
        while (item := futures.popleft().result()) is not None:
            futures.append(thread.submit(next, items, None))
            yield item
            del item  # so that it takes no memory while the next one is awaited
    finally:
        if end is not None:
            end.set()
        thread.shutdown(cancel_futures=True)
        items.close()
