"""Sees that the process gets on: calls of a runtime or of the event loop that do not come back, and threads that ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from model.inference.scheduler import Scheduler

INTERVAL_S = 1.0
LEAST_STALL_S = 120.0  # far above what any image takes in one call
Later = Callable[[Callable[[], None]], object]


class Watchdog:
    """Looks at everything every `interval` seconds, on a thread of its own; `on_failure` is told once, and why.

    A scheduler that has failed, or whose thread has ended, or one of whose threads has been in one call of its runtime for
    `stall_s` seconds, fails: what waits for it is answered. One call that hangs is enough, because its thread, its memory and
    its reservation never come back. `later`, where it is set, has the event loop call a function, which it must have done
    within `stall_s`. Seconds are counted in looks, at most `interval` for each, not by the clock: a process that was
    paused, as a container is, has lost no time. `schedulers` gives those to look at. A call into C that keeps the
    interpreter's lock stops the watchdog as well.
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
        self.later: Later | None = None
        self._on_failure = on_failure
        self.stall_s = stall_s
        self._interval = interval
        self._seen: dict[Scheduler, list[tuple[int | None, int]]] = {}
        self._asked = threading.Event()  # the event loop clears it
        self._silent = 0  # looks since the event loop was asked, while it does not answer
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
            if reason := self._judge(scheduler):
                scheduler.fail(reason)
                return reason
        return self._judge_loop()

    def _judge(self, scheduler: Scheduler) -> str | None:
        if reason := scheduler.broken:
            return reason
        calls = scheduler.calls()
        before = self._seen[scheduler] or [(None, 0)] * len(calls)
        # for each thread, its call and in how many looks one after another it has been the same
        seen = [
            (now, looks + 1 if now is not None and now == then else 0) for now, (then, looks) in zip(calls, before, strict=True)
        ]
        self._seen[scheduler] = seen
        return f"the network has {self._stalled}" if self._is_long(max(looks for _, looks in seen)) else None

    def _judge_loop(self) -> str | None:
        if self.later is None:
            return None
        if self._asked.is_set():
            self._silent += 1
        else:
            self._silent = 0
            self._asked.set()
            with suppress(RuntimeError):  # it is closed: the process is at its end
                self.later(self._asked.clear)
        return f"the event loop has {self._stalled}" if self._is_long(self._silent) else None

    def _is_long(self, looks: int) -> bool:
        return looks * self._interval >= self.stall_s

    @property
    def _stalled(self) -> str:
        return f"been at one call for {self.stall_s:g} s, which does not come back"

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval):
            if (reason := self.look()) and not self._stopping.is_set():
                self._on_failure(reason)
                return
