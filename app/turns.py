"""Runs the callbacks of senders in turn at the event loop, so that no sender delays the others for long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

CREDIT_S = 0.05  # seconds of the processor that a sender may use before it pauses; a client with JSON of 20 MB needs them


class Turns:
    """Runs callbacks of at most some milliseconds each, one in a pass of the event loop. Only for the event loop.

    Senders take turns, however many callbacks each one has. The callbacks of one sender run in the order of `add`.
    A callback costs the processor time that the loop uses from its start until everything that it woke has run once. A sender
    pays this debt as time passes: all senders in debt pay half a second of processor time a second together, in equal parts. A
    sender whose debt takes more than `CREDIT_S` seconds to pay pauses.
    Before its turn, a sender waits for at most one callback of each other sender that does not pause, and for no pause of
    another one. The cost of a turn does not grow with the number of waiting callbacks.
    """

    def __init__(self) -> None:
        self._callbacks = dict[str, deque[tuple[Callable[[], None], Callable[[float], None]]]]()  # by sender: waiting ones
        self._ready = deque[str]()  # senders with waiting callbacks that do not pause, in the order of their turns
        self._paid_times = dict[str, float]()  # by sender: the loop's time when it has paid; the last one charged is the last
        self._is_busy = False

    def add(self, sender: str, callback: Callable[[], None], on_end: Callable[[float], None] = lambda _: None) -> None:
        """Runs `callback` in a turn of its sender, then `on_end` with the callback's cost in seconds."""
        if sender in self._callbacks:  # the sender waits, pauses or has its turn
            self._callbacks[sender].append((callback, on_end))
            return
        self._callbacks[sender] = deque([(callback, on_end)])
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._paid_times.get(sender, 0.0) - CREDIT_S), self._make_ready, sender)

    def _make_ready(self, sender: str) -> None:
        self._ready.append(sender)
        if not self._is_busy:
            self._is_busy = True
            self._run_next()

    def _run_next(self) -> None:
        sender, start = self._ready.popleft(), time.thread_time()
        callback, on_end = self._callbacks[sender].popleft()
        try:
            callback()
        finally:  # `_end` runs in the next pass, after everything that the callback woke
            asyncio.get_running_loop().call_soon(self._end, sender, on_end, start)

    def _end(self, sender: str, on_end: Callable[[float], None], start: float) -> None:
        loop = asyncio.get_running_loop()
        now, cost = loop.time(), time.thread_time() - start
        on_end(cost)
        paid_time = max(now - cost, self._paid_times.pop(sender, 0.0))
        while self._paid_times and next(iter(self._paid_times.values())) <= now:
            del self._paid_times[next(iter(self._paid_times))]
        self._paid_times[sender] = paid_time + 2 * cost * (len(self._paid_times) + 1)  # half of the time, in equal parts
        if self._callbacks[sender]:
            loop.call_at(max(now, self._paid_times[sender] - CREDIT_S), self._make_ready, sender)
        else:
            del self._callbacks[sender]
        self._is_busy = bool(self._ready)
        if self._is_busy:
            self._run_next()
