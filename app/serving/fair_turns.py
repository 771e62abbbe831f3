"""Turns of clients at one kind of work, of which only a few are done at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.serving.fair_queue import FairQueue


class FairTurns:
    """At most `most` turns at once, of different clients. Of those that wait, who has cost the fewest seconds is next.

    counts: how many turns each client has or waits for. Only for the event loop.
    """

    def __init__(self, most: int) -> None:
        self.counts = Counter[str]()
        self._most, self._running = most, set[str]()
        self._waiting = FairQueue[tuple[str, asyncio.Event]]()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits until the client has a turn, which lasts as long as the block."""
        time = asyncio.get_running_loop().time
        item, start = (client, has_come := asyncio.Event()), time()
        self.counts[client] += 1
        self._waiting.add(client, item)
        self._begin()
        try:
            await has_come.wait()
            start = time()
            yield
        finally:
            self._waiting.remove(client, item)
            if has_come.is_set():
                self._running.remove(client)
                self._waiting.charge(client, time() - start)
            self.counts[client] -= 1
            if not self.counts[client]:
                del self.counts[client]
            self._begin()

    def _begin(self) -> None:
        while len(self._running) < self._most and (item := self._waiting.first_but(self._running)):
            self._running.add(item[0])
            self._waiting.remove(item[0], item)
            item[1].set()
