"""A queue that is fair to clients by what each has cost: of images in a lane, of jobs, of scenes to plan, of bodies to read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by client. The client that has cost least is first; the items of each client keep their order.

    Each client that waits has a clock, which goes on by what the client costs. The client with the lowest clock is first.
    `_now` is the clock of an imagined client that always waits and gets an equal share. When a client begins to wait, its clock
    is `_now`, or the clock that it had before if that is higher. So nobody gains by leaving, or by new names. The queue drops
    the clock of a client that does not wait once `_now` has passed it, and all clocks when nobody waits.
    Each call takes at most one step for each client. Only for the event loop, except `items`, which any thread may call. The
    queue's length is the number of clients that wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[T, None]] = {}  # by client
        self._costs: dict[str, float] = {}  # by client: the expected cost of its waiting items
        self._clocks: dict[str, float] = {}  # of clients that wait, and of others that are ahead of `_now`
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def items(self) -> list[T]:
        """All items that wait, in no order."""
        return [item for items in list(self._waiting.values()) for item in list(items)]

    def add(self, client: str, item: T, cost: float = 0.0) -> None:
        """Adds an item that waits. cost: its expected cost, in the unit of `charge`; only `before` uses it."""
        self._clocks[client] = self._clock(client)
        self._waiting.setdefault(client, {})[item] = None
        self._costs[client] = self._costs.get(client, 0.0) + cost

    def remove(self, client: str, item: T, cost: float = 0.0) -> None:
        """Removes an item, or nothing if it does not wait. cost: as `add` got it."""
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
        """The next item, which stays in the queue; None if nobody waits."""
        return self.first_without(())

    def first_without(self, clients: Collection[str]) -> T | None:
        """As `first`, but without the items of these clients."""
        others = (client for client in self._waiting if client not in clients)
        client = min(others, key=self._clocks.__getitem__, default=None)
        return None if client is None else next(iter(self._waiting[client]))

    def charge(self, client: str, cost: float) -> None:
        """Counts what a client has cost, whether it waits or not. While nobody waits, nothing counts."""
        if not self._waiting:
            return
        self._clocks[client] = self._clock(client) + cost
        # an equal share of the cost: for each client that waits, and for the one that is charged
        self._now += cost / (len(self._waiting) + (client not in self._waiting))
        self._clocks = {each: clock for each, clock in self._clocks.items() if clock > self._now or each in self._waiting}

    def before(self, client: str, cost: float) -> float:
        """The expected cost of all items that would go before one more item of this client. cost: of that item."""
        own = self._costs.get(client, 0.0)
        # when the item is done, the client's clock is at `end`; until then, each other client goes on to `end`, if it has items
        end = self._clock(client) + own + cost
        others = ((self._clocks[each], costs) for each, costs in self._costs.items() if each != client)
        return own + sum(min(costs, max(0.0, end - clock)) for clock, costs in others)

    def _clock(self, client: str) -> float:
        """The clock of a client that waits, or the one that it would have if it began to wait now."""
        clock = self._clocks.get(client, self._now)
        return clock if client in self._waiting else max(clock, self._now)


class FairTurns:
    """Turns at one kind of work: at most `most` at once, each of another client. The client with the lowest cost is next.

    A turn costs its seconds. counts: how many turns each client has or waits for. Only for the event loop.
    """

    def __init__(self, most: int) -> None:
        self.counts = Counter[str]()
        self._most, self._running = most, set[str]()
        self._waiting = FairQueue[tuple[str, asyncio.Event]]()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits until the client has a turn, which lasts as long as the block."""
        time = asyncio.get_running_loop().time
        has_come, start = asyncio.Event(), time()
        item = client, has_come
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
            self.counts -= Counter([client])  # drops a client whose count is 0 now
            self._begin()

    def _begin(self) -> None:
        """Begins turns while there is room, of clients that have none."""
        while len(self._running) < self._most and (item := self._waiting.first_without(self._running)):
            client, has_come = item
            self._running.add(client)
            self._waiting.remove(client, item)
            has_come.set()
