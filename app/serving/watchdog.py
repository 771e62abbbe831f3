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

    At the first problem it calls `on_failure` once, with the reason, and its thread ends.

    `schedulers` returns the schedulers to check. A problem is one of these: the scheduler has failed, one of its threads has
    ended, or one of its threads has been in the same call of its runtime for `stall_s` seconds. The watchdog then fails the
    scheduler, so that its waiting tiles are answered. One stalled call is enough, because its thread, its memory and its
    reservation never come back.

    `later`, if set, makes the event loop call a function. Not calling it within `stall_s` seconds is a problem too.

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
        self._schedulers = schedulers
        self.later: Later | None = None
        self._on_failure = on_failure
        self.stall_s = stall_s
        self._interval = interval
        # for each thread of a scheduler: the number of its current call, and how many checks in a row it has been the same
        self._calls: dict[Scheduler, list[tuple[int | None, int]]] = {}
        self._ping = threading.Event()  # set here, cleared on the event loop
        self._missed_checks = 0  # checks for which the event loop has not cleared the ping
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> str | None:
        """Runs one check. Returns the problem, or None; fails a scheduler that has one."""
        schedulers = list(self._schedulers())
        self._calls = {scheduler: self._calls.get(scheduler, []) for scheduler in schedulers}
        for scheduler in schedulers:
            if reason := self._check_scheduler(scheduler):
                scheduler.fail(reason)
                return reason
        return self._check_loop()

    def _check_scheduler(self, scheduler: Scheduler) -> str | None:
        if reason := scheduler.problem:
            return reason
        numbers = scheduler.calls()
        previous = self._calls[scheduler] or [(None, 0)] * len(numbers)
        calls = [
            (number, checks + 1 if number is not None and number == previous_number else 0)
            for number, (previous_number, checks) in zip(numbers, previous, strict=True)
        ]
        self._calls[scheduler] = calls
        return f"the network has {self._stall}" if self._is_stall(max(checks for _, checks in calls)) else None

    def _check_loop(self) -> str | None:
        if self.later is None:
            return None
        if self._ping.is_set():
            self._missed_checks += 1
        else:
            self._missed_checks = 0
            self._ping.set()
            with suppress(RuntimeError):  # the event loop is closed: the process is ending
                self.later(self._ping.clear)
        return f"the event loop has {self._stall}" if self._is_stall(self._missed_checks) else None

    def _is_stall(self, checks: int) -> bool:
        return checks * self._interval >= self.stall_s

    @property
    def _stall(self) -> str:
        return f"been at one call for {self.stall_s:g} s, which does not come back"

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval):
            if (reason := self.look()) and not self._stopping.is_set():
                self._on_failure(reason)
                return
