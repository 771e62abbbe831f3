"""One client in several processes and event loops: each gets its own connections, and no answer of another."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from fcn_client import AsyncSegmentClient, SegmentClient

from tests.support import http_servers
from tests.support.client.scripted_service import Service, good
from tests.support.polling import HANG_S

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
CALLS = 6


class Echo(http_servers.LoopbackServer):
    """Answers each image with its own bytes, and counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        super().__init__(Handler)

    def get_request(self) -> tuple[Any, Any]:
        self.connections += 1
        return super().get_request()


class Handler(http_servers.Handler):
    protocol_version = "HTTP/1.1"
    server: Echo

    def post(self) -> None:
        self.answer(200, self.body())


@pytest.fixture
def echo() -> Iterator[Echo]:
    with http_servers.running(Echo()) as server:
        yield server


def wrong_sync(client: SegmentClient, name: str) -> int:
    """How many of some calls do not get the answer to their own request."""
    images = [f"{name}-{number}".encode() * 200 for number in range(CALLS)]
    return sum(image not in client.raw(image) for image in images)


def wrong_async(client: AsyncSegmentClient, name: str) -> int:
    async def ask() -> int:
        images = [f"{name}-{number}".encode() * 200 for number in range(CALLS)]
        answers = await asyncio.gather(*(client.raw(image) for image in images))
        return sum(image not in answer for image, answer in zip(images, answers, strict=True))

    return asyncio.run(ask())


@contextmanager
def loops_that_end_without_closing() -> Iterator[None]:
    """Silences what Python says of connections whose event loop ended, until they are collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def in_children(count: int, work: Callable[[str], int]) -> list[int]:
    """What `work` returns in forked children that run at the same time; -1 for a child that failed."""
    context = multiprocessing.get_context("fork")
    receivers = []
    processes = []
    for number in range(count):
        receiver, sender = context.Pipe(duplex=False)

        def run(sender: Any = sender, number: int = number) -> None:
            warnings.simplefilter("ignore", ResourceWarning)  # connections of the parent, which the child drops
            sender.send(work(f"child-{number}"))

        processes.append(context.Process(target=run))
        receivers.append(receiver)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the test's server has threads, which is what the fork is about
        for process in processes:
            process.start()
    outcomes = [receiver.recv() if receiver.poll(HANG_S) else -1 for receiver in receivers]
    for process in processes:
        process.join(HANG_S)
    return outcomes


def test_a_forked_client_gets_its_own_answers(echo: Echo) -> None:
    with SegmentClient(echo.url) as client:
        assert wrong_sync(client, "parent") == 0
        before = echo.connections
        parent: list[int] = []
        thread = threading.Thread(target=lambda: parent.append(wrong_sync(client, "parent")))
        thread.start()
        assert in_children(3, partial(wrong_sync, client)) == [0, 0, 0]
        thread.join(HANG_S)
        assert parent == [0]
        assert echo.connections - before >= 3
        assert wrong_sync(client, "parent") == 0


def test_a_child_that_closes_the_client_leaves_the_parents_open(echo: Echo) -> None:
    def close(name: str) -> int:
        client.close()
        return 0

    with SegmentClient(echo.url) as client:
        assert wrong_sync(client, "parent") == 0
        before = echo.connections
        assert in_children(1, close) == [0]
        assert wrong_sync(client, "parent") == 0
        assert echo.connections == before


def test_a_forked_asyncio_client_gets_its_own_answers(echo: Echo) -> None:
    with loops_that_end_without_closing():
        client = AsyncSegmentClient(echo.url)
        assert wrong_async(client, "parent") == 0
        assert in_children(3, partial(wrong_async, client)) == [0, 0, 0]
        assert wrong_async(client, "parent") == 0
        del client


def test_a_second_run_of_asyncio_works(echo: Echo) -> None:
    with loops_that_end_without_closing():
        client = AsyncSegmentClient(echo.url)
        assert [wrong_async(client, f"run-{number}") for number in range(3)] == [0, 0, 0]
        asyncio.run(client.aclose())
        with pytest.raises(RuntimeError, match="this client is closed; make a new one"):
            wrong_async(client, "closed")
        del client


def test_two_event_loops_at_once(echo: Echo) -> None:
    with loops_that_end_without_closing():
        client = AsyncSegmentClient(echo.url)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(partial(wrong_async, client), ["a", "b"])) == [0, 0]
        del client


def test_a_transport_of_the_callers_is_not_shared() -> None:
    with SegmentClient("http://service", transport=httpx.MockTransport(Service([good(), good()]).answer)) as client:
        assert client.raw(b"x") == b"mask"

        def ask(name: str) -> int:
            with pytest.raises(RuntimeError, match="has a transport of its own, which another process"):
                client.raw(b"x")
            return 0

        assert in_children(1, ask) == [0]
        assert client.raw(b"x") == b"mask"
