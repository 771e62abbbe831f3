"""Detects calls of a runtime or of the event loop that do not return, and threads that have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from model.inference.scheduler import Scheduler

INTERVAL_S = 1.0
LEAST_STALL_S = 120.0  # far longer than any image takes in one call
Later = Callable[[Callable[[], None]], object]


class Watchdog:
    """Checks every `interval` seconds, on its own thread, that the schedulers and the event loop make progress.

    At the first problem it calls `on_failure` once, with the reason, and its thread ends. A problem is: a scheduler has failed,
    one of its threads has ended, or has been in the same call of its runtime for `stall_s` seconds. The watchdog then fails the
    scheduler, so that its waiting tiles are answered. One stalled call is enough, because its thread, its memory and its
    reservation never come back. `later`, if set, makes the event loop call a function. Not calling it within `stall_s` seconds
    is a problem too.

    Time is counted in checks of `interval` seconds, not by the clock: pausing the process (as containers can be) adds no time.
    A call into C that keeps the interpreter's lock stops the watchdog as well.
    """

    def __init__(
        self,
        schedulers: Callable[[], Iterable[Scheduler]],
        on_failure: Callable[[str], None],
        *,
        stall_s: float,
        interval: float = INTERVAL_S,
    ) -> None:
        self.later: Later | None = None
        self.stall_s = stall_s
        self._schedulers, self._on_failure, self._interval = schedulers, on_failure, interval
        # of each thread of a scheduler, and of the event loop: the number of its call, and how many checks it has been the same
        self._calls: dict[object, tuple[int | None, int]] = {}
        self._answers = 0  # of the event loop
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> str | None:
        """Runs one check. Returns the problem, or None; fails a scheduler that has one."""
        before, self._calls = self._calls, {}
        for scheduler in self._schedulers():
            stalls = [self._is_stalled((scheduler, i), call, before) for i, call in enumerate(scheduler.calls())]
            if reason := scheduler.problem or (self._stall("network") if any(stalls) else None):
                scheduler.fail(reason)
                return reason
        if self.later is None:
            return None
        if self._is_stalled("loop", self._answers, before):
            return self._stall("event loop")
        if self._calls["loop"][1] == 0:  # it has answered since the last check
            with suppress(RuntimeError):  # the event loop is closed: the process is ending
                self.later(self._answer)
        return None

    def _answer(self) -> None:
        self._answers += 1

    def _is_stalled(self, caller: object, call: int | None, before: dict[object, tuple[int | None, int]]) -> bool:
        """Whether the caller has been in this call for `stall_s` seconds. call: None if it has nothing to do."""
        former_call, checks = before.get(caller, (None, 0))
        self._calls[caller] = call, checks + 1 if call is not None and call == former_call else 0
        return self._calls[caller][1] * self._interval >= self.stall_s

    def _stall(self, caller: str) -> str:
        return f"the {caller} has been at one call for {self.stall_s:g} s, which does not come back"

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval):
            if (reason := self.look()) and not self._stopping.is_set():
                self._on_failure(reason)
                return
