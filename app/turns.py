"""Turns of senders at the event loop, for what they can make many or long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

COSTLY_S = 0.001  # of the processor


class Turns:
    """Works of at most some milliseconds each, of which a pass of the event loop does one. Only for the event loop.

    Senders have it in turn, whatever the number of their works; those of each keep their order. A work that takes more than
    `COSTLY_S` seconds of the processor is followed by as long a pause, so that such works have half of the loop's time. Each
    call takes the same time, whatever waits.
    """

    def __init__(self) -> None:
        self._works = dict[str, deque[tuple[Callable[[], None], Callable[[bool], None]]]]()  # by sender, the next one first
        self._next = 0.0  # when the next turn may begin

    def add(self, sender: str, work: Callable[[], None], note: Callable[[bool], None] = lambda _: None) -> None:
        """Does the work in a turn of its sender. note: is told whether it has cost much."""
        if not self._works:
            asyncio.get_running_loop().call_at(self._next, self._do_next)
        self._works.setdefault(sender, deque()).append((work, note))

    def _do_next(self) -> None:
        loop, sender = asyncio.get_running_loop(), next(iter(self._works))
        works = self._works.pop(sender)
        work, note = works.popleft()
        if works:
            self._works[sender] = works
        start = time.thread_time()
        try:
            work()
        finally:
            cost = time.thread_time() - start
            note(cost > COSTLY_S)
            self._next = loop.time() + (cost if cost > COSTLY_S else 0.0)
            if self._works:
                loop.call_at(self._next, self._do_next)
