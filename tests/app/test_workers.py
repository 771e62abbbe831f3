"""Which thread takes which job, and what becomes of those that wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from app.workers import Workers
from model.cores import CHOOSES


@contextmanager
def running(count: int) -> Iterator[Workers]:
    workers = Workers(count, "test", lambda: None)
    try:
        yield workers
    finally:
        workers.shutdown()


@contextmanager
def held(workers: Workers, threads: int) -> Iterator[list[Future[bool]]]:
    """So many threads busy."""
    go, entered = threading.Event(), threading.Semaphore(0)

    def wait() -> bool:
        entered.release()
        return go.wait(30)

    waiting = [workers.submit(wait) for _ in range(threads)]
    for _ in waiting:
        assert entered.acquire(timeout=30)
    try:
        yield waiting
    finally:
        go.set()
    assert all(each.result(30) for each in waiting)


def test_one_job_after_another_is_for_the_first_thread() -> None:
    with running(3) as workers:
        found = {workers.submit(lambda: (threading.get_ident(), workers.first)).result(30) for _ in range(20)}
        assert [first for _, first in found] == [True]
        assert not workers.first


def test_while_the_first_is_busy_the_next_one_takes_a_job() -> None:
    with running(3) as workers:
        with held(workers, 1):
            others = {workers.submit(threading.get_ident).result(30) for _ in range(20)}
            assert len(others) == 1
            assert not workers.submit(lambda: workers.first).result(30)
        assert workers.submit(lambda: workers.first).result(30)


@pytest.mark.skipif(not CHOOSES, reason="threads do not choose their cores on this system")
def test_threads_with_cores_of_their_own_keep_to_them_and_others_go_anywhere() -> None:
    every = os.sched_getaffinity(0)
    for own_cores, expected in ((True, [{core} for core in sorted(every)]), (False, [every] * len(every))):
        workers = Workers(len(every), "test", lambda: None, own_cores=own_cores)
        found = []
        for busy in range(len(every)):
            with held(workers, busy):
                found.append(workers.submit(os.sched_getaffinity, 0).result(30))
        workers.shutdown()
        assert found == expected


def test_jobs_that_wait_are_taken_in_their_order_and_cancelled_ones_by_nobody() -> None:
    done: list[int] = []
    with running(2) as workers:
        with held(workers, 2):
            waiting = [workers.submit(done.append, i) for i in range(6)]
            assert len(workers._waiting) == 6
            assert waiting[2].cancel()
        for each in waiting[:2] + waiting[3:]:
            each.result(30)
        assert workers.submit(lambda: workers.first).result(30)
    assert sorted(done) == [0, 1, 3, 4, 5]


def test_who_is_first_in_line_tells_the_delay_once_there_is_a_job_for_every_thread() -> None:
    now = [0.0]
    workers = Workers(2, "test", lambda: None, clock=lambda: now[0])
    with held(workers, 2):
        found = []
        for now[0] in (1.0, 3.0, 4.5):
            workers.submit(lambda: None)
            found.append(workers.delay_s)
        assert found == [0.0, 2.0, 3.5]
    workers.submit(lambda: None).result(30)
    workers.shutdown()
    assert workers.delay_s == 0.0


def test_one_thread_does_one_job_after_another() -> None:
    done: list[int] = []
    with running(1) as workers:
        with held(workers, 1):
            waiting = [workers.submit(done.append, i) for i in range(5)]
        waiting[-1].result(30)
    assert done == list(range(5))


def test_an_error_goes_to_who_asked_and_the_thread_goes_on() -> None:
    def fails() -> None:
        raise ValueError("this job")

    with running(1) as workers:
        with pytest.raises(ValueError, match="this job"):
            workers.submit(fails).result(30)
        assert workers.submit(lambda: 5).result(30) == 5


def test_what_waits_or_comes_when_it_ends_is_cancelled_and_what_runs_goes_on() -> None:
    with running(1) as workers, held(workers, 1) as (busy,):
        waiting = workers.submit(lambda: 5)
        workers.shutdown()
        assert waiting.cancelled()
        assert workers.submit(lambda: 6).cancelled()
        assert not busy.done()


def test_each_thread_begins_with_what_is_asked() -> None:
    begun: list[int] = []
    workers = Workers(2, "test", lambda: begun.append(threading.get_ident()))
    with held(workers, 2):
        assert len(set(begun)) == 2
    workers.shutdown()
