"""Turns of clients at one kind of work, of which only a few are done at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.serving.fair_queue import FairQueue


class FairTurns:
    """At most `most` turns at once. Of the clients that wait, the one whose turns have cost the fewest seconds is next.

    Only for the event loop.
    """

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._waiting = FairQueue[tuple[str, asyncio.Event]]()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits until the client has a turn, which lasts as long as the block."""
        time = asyncio.get_running_loop().time
        item, start = (client, has_come := asyncio.Event()), time()
        self._waiting.add(client, item)
        self._begin()
        try:
            await has_come.wait()
            start = time()
            yield
        finally:
            self._waiting.remove(client, item)
            if has_come.is_set():
                self._count -= 1
                self._waiting.charge(client, time() - start)
            self._begin()

    def _begin(self) -> None:
        while self._count < self._most and (item := self._waiting.first):
            self._count += 1
            self._waiting.remove(item[0], item)
            item[1].set()
