"""Sees that schedulers get on: a call of a runtime that does not come back, and a thread that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from app.serving.scheduler import ENDED, Scheduler

INTERVAL_S = 1.0
LEAST_STALL_S = 60.0


class Watchdog:
    """Looks at the schedulers every `interval` seconds, on a thread of its own; `on_failure` is told once, and why.

    A scheduler that has failed, or whose thread has ended, or one of whose threads has been in one call of its runtime for
    `stall_s` seconds, fails: whoever waits for it is answered. Seconds are counted in looks, at most `interval` for each, not
    by the clock: a process that was paused, as a container is, has lost no time. `schedulers` gives those to look at.
    """

    def __init__(
        self,
        schedulers: Callable[[], Iterable[Scheduler]],
        on_failure: Callable[[str], None],
        *,
        stall_s: float,
        interval: float = INTERVAL_S,
    ) -> None:
        self._schedulers = schedulers
        self._on_failure = on_failure
        self._stall_s = stall_s
        self._interval = interval
        self._seen: dict[Scheduler, list[tuple[int | None, int]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> str | None:
        """One look: what is wrong, or None."""
        schedulers = list(self._schedulers())
        self._seen = {scheduler: self._seen.get(scheduler, []) for scheduler in schedulers}
        for scheduler in schedulers:
            reason = self._judge(scheduler)
            if reason and scheduler in self._schedulers():  # else it has been stopped, as a newer one took over
                scheduler.fail(reason)
                return reason
        return None

    def _judge(self, scheduler: Scheduler) -> str | None:
        if not scheduler.alive:
            return scheduler.failure or ENDED
        calls = scheduler.calls()
        before = self._seen[scheduler] or [(None, 0)] * len(calls)
        # for each thread, its call and in how many looks one after another it has been the same
        seen = [
            (now, looks + 1 if now is not None and now == then else 0) for now, (then, looks) in zip(calls, before, strict=True)
        ]
        self._seen[scheduler] = seen
        if max(looks for _, looks in seen) * self._interval >= self._stall_s:
            return f"the network has been at one call for {self._stall_s:g} s and does not come back"
        return None

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval):
            if (reason := self.look()) and not self._stopping.is_set():
                self._on_failure(reason)
                return
