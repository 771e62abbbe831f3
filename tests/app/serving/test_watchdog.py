"""What the watchdog sees, and what becomes of those that wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.serving.errors import NotServing
from app.serving.pool import Pool
from app.serving.scheduler import ENDED, Scheduler, TileQueue
from app.serving.watchdog import Watchdog
from model.inference.merging import Logits
from model.inference.runtime import Tile
from tests.app.doubles import Clock, FirstChannel, Hold
from tests.app.serving.test_scheduler import FAR, tile
from tests.conftest import HANG_S, ROOT, wait_for

ENDS = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Ends(FirstChannel):
    """Its call ends the thread that makes it."""

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        raise SystemExit


class Watched:
    """A scheduler, those that ask it, and a watchdog with five looks of a second to a stall, which looks when told."""

    def __init__(self, *runtimes: FirstChannel) -> None:
        self.failures: list[str] = []
        self.scheduler = Scheduler(
            runtimes, max_batch=1, on_batch=lambda *_: None, on_failure=self.failures.append, clock=Clock()
        )
        self.scheduler.start()
        self.listed = [self.scheduler]
        self.watchdog = Watchdog(lambda: self.listed, self.failures.append, stall_s=5, interval=1)
        self.threads = ThreadPoolExecutor(8)

    def ask(self, value: int) -> Future[list[Logits]]:
        return self.threads.submit(lambda: list(self.scheduler.run(TileQueue(FAR), iter([tile(value)]))))

    def look(self, times: int) -> list[str | None]:
        return [self.watchdog.look() for _ in range(times)]


def test_a_call_that_does_not_come_back_fails_the_scheduler_and_everyone_is_answered() -> None:
    runtime = FirstChannel()
    it = Watched(runtime)
    with runtime.hold as hold:
        asked = [it.ask(1), it.ask(2)]
        assert hold.entered.wait(HANG_S)
        assert it.look(5) == [None] * 5
        found = it.watchdog.look()
        assert found == it.scheduler.failure == "the network has been at one call for 5 s, which does not come back"
        for each in [*asked, it.ask(3)]:
            with pytest.raises(NotServing, match="does not come back"):
                each.result(HANG_S)
        it.scheduler.stop()  # does not wait for the thread
    it.threads.shutdown()


def test_while_calls_come_back_or_nothing_waits_all_is_well() -> None:
    runtime = FirstChannel()
    it = Watched(runtime)
    assert it.look(20) == [None] * 20
    for value in range(4):
        with runtime.hold as hold:
            asked = it.ask(value)
            assert hold.entered.wait(HANG_S)
            assert it.look(4) == [None] * 4
        assert asked.result(HANG_S)
    it.scheduler.stop()
    it.threads.shutdown()


def test_one_of_two_threads_that_hangs_is_seen_while_the_other_goes_on() -> None:
    hangs, other = FirstChannel(), FirstChannel()
    it = Watched(hangs, other)
    with hangs.hold:
        stuck: list[Future[list[Logits]]] = []
        while not hangs.hold.entered.is_set():
            stuck.append(it.ask(1))
            time.sleep(0.01)
        for _ in range(5):
            assert it.watchdog.look() is None
            assert it.ask(2).result(HANG_S)
        assert "does not come back" in (it.watchdog.look() or "")
        for each in stuck:
            assert each.exception(HANG_S) is None or isinstance(each.exception(), NotServing)
    it.threads.shutdown()


@ENDS
def test_a_thread_that_has_ended_fails_the_scheduler_and_everyone_is_answered() -> None:
    it = Watched(Ends())
    asked = it.ask(1)
    wait_for(lambda: not it.scheduler.alive)
    assert it.watchdog.look() == ENDED
    with pytest.raises(NotServing, match=ENDED):
        asked.result(HANG_S)
    it.threads.shutdown()


def test_what_waits_for_a_pool_that_hangs_learns_why_as_it_is_cancelled() -> None:
    it, pool, hold = Watched(FirstChannel()), Pool(1, "small"), Hold()
    watchdog = Watchdog(lambda: it.listed, it.failures.append, stall_s=5, interval=1, pools=[pool])
    with hold:
        pool.submit(hold)
        assert hold.entered.wait(HANG_S)
        told: list[str | None] = []
        pool.submit(lambda: None).add_done_callback(lambda _: told.append(it.scheduler.failure))
        found = [watchdog.look() for _ in range(6)]
    assert found[:5] == [None] * 5
    assert "a thread of the pool `small` has been at one call" in (found[5] or "")
    assert told == [found[5]]


def test_a_scheduler_that_was_replaced_and_stopped_is_no_failure() -> None:
    it = Watched(FirstChannel())
    it.scheduler.stop()
    assert it.look(10) == [None] * 10
    assert it.scheduler.failure is None


@ENDS
def test_the_thread_tells_once_and_ends() -> None:
    it = Watched(Ends())
    watchdog = Watchdog(lambda: it.listed, it.failures.append, stall_s=5, interval=0.01)
    watchdog.start()
    it.ask(1)
    wait_for(lambda: it.failures == [ENDED])
    time.sleep(0.05)
    assert it.failures == [ENDED]
    it.threads.shutdown()


def test_a_pool_one_of_whose_threads_hangs_is_stopped_and_what_waits_for_it_cancelled() -> None:
    hangs, other, pool = Hold(), Hold(), Pool(2, "small")
    watchdog = Watchdog(list, lambda _: None, stall_s=5, interval=1, pools=[pool])
    with hangs, other:
        first = pool.submit(hangs)
        wait_for(lambda: len(pool.running()) == 1)
        assert [watchdog.look() for _ in range(5)] == [None] * 5
        second = pool.submit(other)
        wait_for(lambda: len(pool.running()) == 2)
        waiting = pool.submit(other)
        assert "a thread of the pool `small` has been at one call for 5 s" in (watchdog.look() or "")
        assert waiting.cancelled()
        with pytest.raises(RuntimeError):
            pool.submit(other)
    assert first.result(HANG_S) is second.result(HANG_S) is None


def test_who_waits_for_tiles_is_answered_as_well_where_a_pool_s_thread_hangs() -> None:
    runtime, hangs, pool = FirstChannel(), Hold(), Pool(1, "small")
    it = Watched(runtime)
    with hangs, runtime.hold as hold:
        pool.submit(hangs)
        wait_for(lambda: len(pool.running()) == 1)
        watchdog = Watchdog(lambda: it.listed, it.failures.append, stall_s=5, interval=1, pools=[pool])
        assert [watchdog.look() for _ in range(5)] == [None] * 5
        waits = it.ask(1)
        assert hold.entered.wait(HANG_S)
        reason = watchdog.look()
        assert "a thread of the pool `small`" in (reason or "")
        with pytest.raises(NotServing, match="a thread of the pool `small`"):
            waits.result(HANG_S)
        it.scheduler.stop()
    it.threads.shutdown()


def test_a_pool_that_is_always_busy_and_whose_calls_come_back_is_well() -> None:
    pool = Pool(1, "small")
    watchdog = Watchdog(list, lambda _: None, stall_s=5, interval=1, pools=[pool])
    for _ in range(4):
        with Hold() as hold:
            call = pool.submit(hold)
            assert hold.entered.wait(HANG_S)
            assert [watchdog.look() for _ in range(4)] == [None] * 4
        call.result(HANG_S)
        wait_for(lambda: not pool.running())
    pool.stop()


def test_an_event_loop_that_does_not_answer_is_seen_and_one_that_answers_late_is_well() -> None:
    asked: list[Callable[[], None]] = []
    watchdog = Watchdog(list, lambda _: None, stall_s=5, interval=1)
    watchdog.later = asked.append
    for _ in range(4):
        assert [watchdog.look() for _ in range(5)] == [None] * 5
        (answer,) = asked
        asked.clear()
        answer()
    assert [watchdog.look() for _ in range(5)] == [None] * 5
    assert "the event loop has been at one call for 5 s" in (watchdog.look() or "")


PAUSED = """
import time
from concurrent.futures import ThreadPoolExecutor
from tests.app.serving.test_watchdog import HANG_S, FirstChannel, Watched, Watchdog

runtime = FirstChannel()
it = Watched(runtime)
watchdog = Watchdog(lambda: it.listed, it.failures.append, stall_s=4, interval=0.05)
runtime.hold.close()
it.ask(1)
runtime.hold.entered.wait(HANG_S)
watchdog.start()
print("waiting", flush=True)
input()
print(it.failures, flush=True)
runtime.hold.open()
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="only POSIX can pause a process")
def test_a_pause_of_the_whole_process_does_not_count() -> None:
    command = [sys.executable, "-c", PAUSED]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        out, _ = process.communicate("\n", timeout=HANG_S)
    assert out == "[]\n"
