"""Many images at once, their results in order; a few more are begun than are at work, so that a slow one holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fcn_client.errors import SegmentError
from fcn_client.results import Segmentation

Item = TypeVar("Item")
AHEAD = 2
OF_ONE_IMAGE = (SegmentError, OSError, TypeError, ValueError)


def check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")


def in_order(
    items: Iterable[Item], ask: Callable[[Item], Segmentation], concurrency: int
) -> Iterator[tuple[Item, Segmentation | Exception]]:
    """On threads. Left early, it waits for what is at work and begins nothing more."""
    waiting: deque[tuple[Item, Future[Segmentation]]] = deque()
    pool = ThreadPoolExecutor(concurrency)
    try:
        for item in items:
            waiting.append((item, pool.submit(ask, item)))
            if len(waiting) == AHEAD * concurrency:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


async def in_order_async(
    items: Iterable[Item], ask: Callable[[Item], Awaitable[Segmentation]], concurrency: int
) -> AsyncIterator[tuple[Item, Segmentation | Exception]]:
    """As tasks. Left early, it cancels them."""
    waiting: deque[tuple[Item, asyncio.Task[Segmentation]]] = deque()
    places = asyncio.Semaphore(concurrency)

    async def in_turn(item: Item) -> Segmentation:
        async with places:
            return await ask(item)

    try:
        for item in items:
            waiting.append((item, asyncio.create_task(in_turn(item))))
            if len(waiting) == AHEAD * concurrency:
                await asyncio.wait([waiting[0][1]])
                yield _outcome(*waiting.popleft())
        while waiting:
            await asyncio.wait([waiting[0][1]])
            yield _outcome(*waiting.popleft())
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)


def _outcome(item: Item, work: Future[Segmentation] | asyncio.Task[Segmentation]) -> tuple[Item, Segmentation | Exception]:
    """What came of an image, or its error; raises errors that are not of this image alone."""
    try:
        return item, work.result()
    except OF_ONE_IMAGE as error:
        return item, error
