"""Segments many images at once and yields the results in order.

More images are queued than are processed at once, so that a slow image does not leave the other threads or tasks idle.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fcn_client.errors import SegmentError
from fcn_client.images import refuse_one
from fcn_client.results import Segmentation

Item = TypeVar("Item")
AHEAD = 2  # images taken from the input, as a multiple of the concurrency
OF_ONE_IMAGE = (SegmentError, OSError, TypeError, ValueError)


def check(images: object, concurrency: int) -> None:
    """Raises `TypeError` for one image instead of several, and `ValueError` for a concurrency below 1."""
    refuse_one(images)
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")


def in_order(
    items: Iterable[Item], ask: Callable[[Item], Segmentation], concurrency: int
) -> Iterator[tuple[Item, Segmentation | Exception]]:
    """Runs `ask` on threads. If closed early, it waits for the running calls and starts no more."""
    calls: deque[tuple[Item, Future[Segmentation]]] = deque()
    pool = ThreadPoolExecutor(concurrency)
    try:
        for item in items:
            calls.append((item, pool.submit(ask, item)))
            if len(calls) == AHEAD * concurrency:
                yield _outcome(*calls.popleft())
        while calls:
            yield _outcome(*calls.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


async def in_order_async(
    items: Iterable[Item], ask: Callable[[Item], Awaitable[Segmentation]], concurrency: int
) -> AsyncIterator[tuple[Item, Segmentation | Exception]]:
    """Runs `ask` in asyncio tasks. If closed early, it cancels them."""
    calls: deque[tuple[Item, asyncio.Task[Segmentation]]] = deque()
    semaphore = asyncio.Semaphore(concurrency)

    async def ask_in_turn(item: Item) -> Segmentation:
        async with semaphore:
            return await ask(item)

    try:
        for item in items:
            calls.append((item, asyncio.create_task(ask_in_turn(item))))
            if len(calls) == AHEAD * concurrency:
                await asyncio.wait([calls[0][1]])
                yield _outcome(*calls.popleft())
        while calls:
            await asyncio.wait([calls[0][1]])
            yield _outcome(*calls.popleft())
    finally:
        for _, task in calls:
            task.cancel()
        await asyncio.gather(*(task for _, task in calls), return_exceptions=True)


def _outcome(item: Item, work: Future[Segmentation] | asyncio.Task[Segmentation]) -> tuple[Item, Segmentation | Exception]:
    """The image with its result or its error. Raises errors that are not about this image alone."""
    try:
        return item, work.result()
    except OF_ONE_IMAGE as error:
        return item, error
