"""A queue that is fair to clients by what each has cost: of images in a lane, of jobs, of scenes to plan, of bodies to read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by client. The client that has cost least is first; the items of each keep their order.

    Each client has a clock: where it began, and what it has cost since. `_now` is the clock of an imagined client that always
    waits and gets its share. Who comes, or comes back, begins at `_now`, or at its own clock if that is later. So nobody gains
    by leaving, or by new names. The clock of a client that does not wait is dropped once `_now` has passed it; all are dropped
    when nobody waits. Each call takes at most one step for each client. Only for the event loop, except `items`, which any
    thread may call. Its length is the number of clients that wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[T, None]] = {}  # by client
        self._costs: dict[str, float] = {}  # that the waiting items of a client are expected to have
        self._clocks: dict[str, float] = {}  # of clients that wait, and of those that are ahead of `_now`
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def items(self) -> list[T]:
        """All that waits, in no order."""
        return [item for items in list(self._waiting.values()) for item in list(items)]

    def add(self, client: str, item: T, cost: float = 0.0) -> None:
        """Adds what waits. cost: as it is expected, in the unit of `charge`; for `before` alone."""
        self._clocks[client] = self._clock(client)
        self._waiting.setdefault(client, {})[item] = None
        self._costs[client] = self._costs.get(client, 0.0) + cost

    def remove(self, client: str, item: T, cost: float = 0.0) -> None:
        """Removes what waits no more; nothing if it does not wait. cost: as it was added."""
        items = self._waiting.get(client, {})
        if item in items:
            del items[item]
            self._costs[client] -= cost
            if not items:
                del self._waiting[client], self._costs[client]
        if not self._waiting:
            self._clocks.clear()

    @property
    def first(self) -> T | None:
        """What is next. It stays."""
        return self.first_but(())

    def first_but(self, clients: Collection[str]) -> T | None:
        """What is next of others than these clients."""
        others = (client for client in self._waiting if client not in clients)
        client = min(others, key=self._clocks.__getitem__, default=None)
        return None if client is None else next(iter(self._waiting[client]))

    def charge(self, client: str, cost: float) -> None:
        """Counts what a client has cost, whether it waits or not. While nobody waits, nothing counts."""
        if not self._waiting:
            return
        self._clocks[client] = self._clock(client) + cost
        self._now += cost / (len(self._waiting) + (client not in self._waiting))
        self._clocks = {each: clock for each, clock in self._clocks.items() if clock > self._now or each in self._waiting}

    def before(self, client: str, cost: float) -> float:
        """The expected cost of what is done before one more item of this client, which costs so much."""
        own = self._costs.get(client, 0.0)
        end = self._clock(client) + own + cost
        others = ((self._clocks[each], costs) for each, costs in self._costs.items() if each != client)
        return own + sum(min(costs, max(0.0, end - clock)) for clock, costs in others)

    def _clock(self, client: str) -> float:
        """The clock of a client that waits, or would wait from now on."""
        clock = self._clocks.get(client, self._now)
        return clock if client in self._waiting else max(clock, self._now)


class FairTurns:
    """Turns at one kind of work: at most `most` at once, of different clients. Who has cost the fewest seconds is next.

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
