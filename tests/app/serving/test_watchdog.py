"""What the watchdog sees, and what becomes of those that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from app.serving.watchdog import Watchdog
from model.inference.errors import SchedulerEnded
from model.inference.merging import Logits
from model.inference.scheduler import THREAD_ENDED, Scheduler
from model.inference.tile_queue import BUSY_S, TileQueue
from tests.support.model.doubles import FAR, Clock, FirstChannel, Streams, tile
from tests.support.polling import HANG_S, wait_until


class WatchedScheduler:
    """A scheduler, those that ask it, and a watchdog with five looks of a second to a stall, which looks when told."""

    def __init__(self, *runtimes: FirstChannel) -> None:
        self.failures: list[str] = []
        self.clock = Clock()
        self.scheduler = Scheduler(
            runtimes, max_batch=1, on_batch=lambda *_: None, on_failure=self.failures.append, clock=self.clock
        )
        self.scheduler.start()
        self.schedulers = [self.scheduler]
        self.watchdog = Watchdog(lambda: self.schedulers, self.failures.append, stall_s=5, interval=1)

    def ask(self, value: int, *, is_background: bool = False) -> Future[Logits]:
        return self.scheduler.submit(TileQueue(FAR, is_background), tile(value))

    def look(self, times: int) -> list[str | None]:
        return [self.watchdog.look() for _ in range(times)]


def test_a_call_that_does_not_come_back_fails_the_scheduler_and_everyone_is_answered() -> None:
    runtime = FirstChannel()
    it = WatchedScheduler(runtime)
    with runtime.hold as hold:
        requests = [it.ask(1), it.ask(2)]
        assert hold.entry.wait(HANG_S)
        assert it.look(5) == [None] * 5
        problem = it.watchdog.look()
        assert problem == it.scheduler.failure == "the network has been at one call for 5 s, which does not come back"
        for each in [*requests, it.ask(3)]:
            with pytest.raises(SchedulerEnded, match="does not come back"):
                each.result(HANG_S)
        it.scheduler.stop()  # does not wait for the thread


def test_while_calls_come_back_or_nothing_waits_all_is_well() -> None:
    runtime = FirstChannel()
    it = WatchedScheduler(runtime)
    assert it.look(20) == [None] * 20
    for value in range(4):
        with runtime.hold as hold:
            request = it.ask(value)
            assert hold.entry.wait(HANG_S)
            assert it.look(4) == [None] * 4
        assert request.result(HANG_S) is not None
    it.scheduler.stop()


def test_a_thread_that_is_not_needed_is_no_stall_while_another_works() -> None:
    runtime = Streams(concurrency=2)
    runtime.least = 100  # of tiles for two calls at the same time
    it = WatchedScheduler(runtime)
    requests = []
    for value in range(8):
        with runtime.hold as hold:
            requests += [it.ask(value), it.ask(value)]
            assert hold.entry.wait(HANG_S)
            assert it.look(1) == [None]
    for request in requests:
        assert request.result(HANG_S) is not None


def test_a_pause_between_tiles_of_the_background_is_no_stall() -> None:
    runtime = FirstChannel(concurrency=2)
    it = WatchedScheduler(runtime)
    with runtime.hold as hold:
        first = it.ask(1, is_background=True)
        assert hold.entry.wait(HANG_S)
        it.clock.now += 100
    assert first.result(HANG_S) is not None
    assert it.ask(2).result(HANG_S) is not None
    second = it.ask(3, is_background=True)
    assert it.look(20) == [None] * 20
    assert not second.done()
    it.clock.now += BUSY_S
    assert it.ask(4, is_background=True).result(HANG_S) is not None  # wakes the threads
    assert second.result(HANG_S) is not None
    it.scheduler.stop()


def test_one_of_two_threads_that_hangs_is_seen_while_the_other_goes_on() -> None:
    hangs, other = FirstChannel(), FirstChannel()
    it = WatchedScheduler(hangs, other)
    with hangs.hold:
        futures: list[Future[Logits]] = []

        def is_held() -> bool:
            futures.append(it.ask(1))
            return hangs.hold.entry.is_set()

        wait_until(is_held)
        for _ in range(5):
            assert it.watchdog.look() is None
            assert it.ask(2).result(HANG_S).any()
        assert "does not come back" in (it.watchdog.look() or "")
        for each in futures:
            assert each.exception(HANG_S) is None or isinstance(each.exception(), SchedulerEnded)


def test_a_scheduler_that_was_replaced_and_stopped_is_no_failure() -> None:
    it = WatchedScheduler(FirstChannel())
    it.scheduler.stop()
    assert it.look(10) == [None] * 10
    assert it.scheduler.failure is None


def started_since(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and thread.name == "watchdog"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_thread_tells_once_and_ends() -> None:
    runtime = FirstChannel()
    runtime.errors[1] = SystemExit()
    it = WatchedScheduler(runtime)
    watchdog = Watchdog(lambda: it.schedulers, it.failures.append, stall_s=5, interval=0.01)
    before = set(threading.enumerate())
    watchdog.start()
    assert started_since(before)
    it.ask(1)
    wait_until(lambda: it.failures == [THREAD_ENDED])
    wait_until(lambda: not started_since(before))
    assert it.failures == [THREAD_ENDED]


def test_an_event_loop_that_does_not_answer_is_seen_and_one_that_answers_late_is_well() -> None:
    callbacks: list[Callable[[], None]] = []
    watchdog = Watchdog(list, lambda _: None, stall_s=5, interval=1)
    watchdog.later = callbacks.append
    for _ in range(4):
        assert [watchdog.look() for _ in range(5)] == [None] * 5
        (answer,) = callbacks
        callbacks.clear()
        answer()
    assert [watchdog.look() for _ in range(5)] == [None] * 5
    assert "the event loop has been at one call for 5 s" in (watchdog.look() or "")
