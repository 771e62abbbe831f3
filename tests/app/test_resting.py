"""When the event loop rests, and for how long."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from app.resting import RestingSelector, resting_loop
from app.server import DrainingServer
from app.service import LONGEST_REST_S, REST, Service
from app.settings import Settings
from app.workers import Workers
from tests.conftest import free_port

REST_S = 0.25


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept, in seconds; no time passes."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def come() -> Iterator[socket.socket]:
    """A socket from which something can be read."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield ours


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_it_rests_before_it_sees_what_came(rests: list[float], come: socket.socket, timeout: float | None) -> None:
    with RestingSelector(lambda: REST_S) as selector:
        selector.register(come, selectors.EVENT_READ)
        assert [key.fileobj for key, _ in selector.select(timeout)] == [come]
    assert rests == [REST_S]


def test_it_does_not_rest_while_there_is_something_to_do(rests: list[float], come: socket.socket) -> None:
    with RestingSelector(lambda: REST_S) as selector:
        selector.register(come, selectors.EVENT_READ)
        assert selector.select(0)
    assert not rests


def test_it_does_not_rest_where_nothing_waits(rests: list[float], come: socket.socket) -> None:
    with RestingSelector(lambda: 0.0) as selector:
        selector.register(come, selectors.EVENT_READ)
        assert selector.select(None)
    assert not rests


def test_it_rests_no_longer_than_to_the_next_timer(rests: list[float]) -> None:
    started = time.monotonic()
    with RestingSelector(lambda: 10.0) as selector:
        assert selector.select(3.0) == []
    assert rests == [3.0]
    assert time.monotonic() - started < 2


def test_a_loop_on_it_sleeps_as_long_as_asked() -> None:
    loop = resting_loop(lambda: 10.0)
    try:
        started = loop.time()
        loop.run_until_complete(asyncio.sleep(REST_S))
        assert REST_S <= loop.time() - started + 0.01 < 5
    finally:
        loop.close()


class Line:
    """A service whose threads for images of one tile are `threads`, all of them busy, and so many images waiting."""

    def __init__(self, threads: int, waiting: int) -> None:
        self.now = 0.0
        self.service = Service(Settings(_env_file=None))
        self.service.pools.lone = Workers(threads, "test", lambda: None, clock=lambda: self.now)
        self.service.pools.lone._idle.clear()
        for _ in range(waiting):
            self.service.pools.lone.start(Future(), lambda: None)

    def rest_s(self, after: float) -> float:
        self.now = after
        return self.service.rest_s


def test_the_event_loop_rests_for_a_part_of_the_time_that_images_wait() -> None:
    line = Line(threads=3, waiting=3)
    assert line.rest_s(after=0.05) == pytest.approx(0.05 * REST)
    assert line.rest_s(after=60) == LONGEST_REST_S


def test_it_does_not_rest_where_a_thread_might_be_out_of_work_meanwhile() -> None:
    assert Line(threads=3, waiting=2).rest_s(after=60) == 0.0


def test_it_does_not_rest_while_a_body_is_on_its_way() -> None:
    line = Line(threads=1, waiting=1)
    request: dict[str, Any] = {"state": {}}
    line.service.arrivals.begin(request)
    assert line.rest_s(after=60) == 0.0
    line.service.arrivals.end(request)
    assert line.rest_s(after=60) > 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="the event loop does not rest there")
def test_the_server_runs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(Service, "rest_s", property(lambda _: asked.set() or 0.0))
    config = uvicorn.Config(FastAPI(), port=free_port(), log_level="warning", lifespan="off", ws="none")
    server = DrainingServer(config, Service(Settings(_env_file=None)))
    stopping = threading.Timer(0.5, server.stop)
    stopping.start()
    server.run()
    stopping.join()
    assert asked.is_set()
