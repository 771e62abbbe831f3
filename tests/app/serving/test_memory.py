"""The memory budget: what is refused, what waits and in which order, and by which limits it is set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.serving.admission import Held, Memory
from app.serving.errors import Cancelled, QueueFull, TooMuchMemory
from tests.conftest import HANG_S, wait_for


def nobody_cancels() -> None:
    return None


def test_what_is_held_is_refused_beyond_a_quarter_and_corrected_downwards_at_any_time() -> None:
    memory, one, other = Memory(400), Held(), Held()
    memory.hold(one, 90)
    with pytest.raises(QueueFull, match="try again later"):
        memory.hold(other, 11)
    assert (other.bytes, memory.taken) == (0, 90)
    memory.hold(one, 20)
    memory.hold(other, 80)
    assert memory.taken == 100
    memory.hold(one, 300, made=True)  # an answer is there already
    memory.hold(one, 200)
    assert memory.taken == 280


def test_work_that_could_never_begin_is_refused_and_none_other() -> None:
    memory = Memory(400)
    memory.check(300)
    with pytest.raises(TooMuchMemory, match="smaller"):
        memory.check(301)


def test_work_waits_in_the_order_of_its_arrival() -> None:
    memory, done = Memory(400), []
    ends = {name: threading.Event() for name in ("first", "large", "small")}

    def work(name: str, count: int) -> None:
        with memory.working(count, nobody_cancels):
            done.append(name)
            assert ends[name].wait(HANG_S)

    with ThreadPoolExecutor() as pool:
        pool.submit(work, "first", 100)
        wait_for(lambda: done == ["first"])
        pool.submit(work, "large", 250)
        wait_for(lambda: len(memory._waiting) == 1)
        pool.submit(work, "small", 40)
        wait_for(lambda: len(memory._waiting) == 2)
        assert done == ["first"]  # the small one would fit, and must not pass the large one for ever
        ends["first"].set()
        wait_for(lambda: done == ["first", "large", "small"])
        for end in ends.values():
            end.set()
    assert memory.taken == 0


def test_who_waits_for_nobody_gives_up_and_lets_the_next_one_in() -> None:
    memory, gone, entered = Memory(400), threading.Event(), threading.Event()

    def cancelled() -> None:
        if gone.is_set():
            raise Cancelled("the request was cancelled")

    def work(count: int, check: Callable[[], None]) -> None:
        with memory.working(count, check):
            entered.set()

    with ThreadPoolExecutor() as pool, memory.working(200, nobody_cancels):
        given_up = pool.submit(work, 200, cancelled)
        wait_for(lambda: len(memory._waiting) == 1)
        pool.submit(work, 50, nobody_cancels)
        wait_for(lambda: len(memory._waiting) == 2)
        assert not entered.is_set()
        gone.set()
        with pytest.raises(Cancelled):
            given_up.result(HANG_S)
        assert entered.wait(HANG_S)


def test_work_that_fails_gives_its_bytes_back() -> None:
    memory = Memory(400)
    with pytest.raises(ZeroDivisionError), memory.working(300, nobody_cancels):
        raise ZeroDivisionError
    with memory.working(300, nobody_cancels):
        assert memory.taken == 300
