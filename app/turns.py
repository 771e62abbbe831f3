"""Turns of senders at the event loop, for what they can make many or long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

CREDIT_S = 0.05  # of the processor, which a client with JSON of 20 MB needs


class Turns:
    """Works of at most some milliseconds each, of which a pass of the event loop does one. Only for the event loop.

    Senders have it in turn, whatever the number of their works; those of each keep their order. A work costs the loop's
    processor time until what it woke has run once. A sender that has cost more than `CREDIT_S` pauses: all that have to pay
    have half of the loop's time together, each an equal part. Others wait for at most one work of each sender that does not
    pause, and not for the pauses. A turn takes the same time, whatever waits.
    """

    def __init__(self) -> None:
        self._works = dict[str, deque[tuple[Callable[[], None], Callable[[float], None]]]]()  # that wait, by sender
        self._next = deque[str]()  # the senders of these that do not pause
        self._debts = dict[str, float]()  # when a sender has paid; who was charged last is the last
        self._is_busy = False

    def add(self, sender: str, work: Callable[[], None], note: Callable[[float], None] = lambda _: None) -> None:
        """Does the work in a turn of its sender. note: is told what it has cost, in seconds."""
        if sender in self._works:  # it waits or pauses, or has its turn
            self._works[sender].append((work, note))
            return
        self._works[sender] = deque([(work, note)])
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._debts.get(sender, 0.0) - CREDIT_S), self._enter, sender)

    def _enter(self, sender: str) -> None:
        self._next.append(sender)
        if not self._is_busy:
            self._is_busy = True
            self._do_next()

    def _do_next(self) -> None:
        sender, start = self._next.popleft(), time.thread_time()
        work, note = self._works[sender].popleft()
        try:
            work()
        finally:
            asyncio.get_running_loop().call_soon(self._end, sender, note, start)

    def _end(self, sender: str, note: Callable[[float], None], start: float) -> None:
        loop = asyncio.get_running_loop()
        now, cost = loop.time(), time.thread_time() - start
        note(cost)
        begin = max(now - cost, self._debts.pop(sender, 0.0))
        while self._debts and next(iter(self._debts.values())) <= now:
            del self._debts[next(iter(self._debts))]
        self._debts[sender] = begin + 2 * cost * (len(self._debts) + 1)
        if self._works[sender]:
            loop.call_at(max(now, self._debts[sender] - CREDIT_S), self._enter, sender)
        else:
            del self._works[sender]
        self._is_busy = bool(self._next)
        if self._next:
            self._do_next()
