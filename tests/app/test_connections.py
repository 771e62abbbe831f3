"""Heads without limit or end, silent connections, and bodies that others wait behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app import connections
from app.connections import Connection, ConnectionMiddleware, Connections, current_connection
from app.serving.clients import Client, Clients
from tests.support.app.exchanges import PHOTO, answer_on, connect, head, is_closed, respond
from tests.support.app.served_thread import serve_on_thread
from tests.support.model.doubles import FirstChannel
from tests.support.polling import HANG_S, wait_until, wait_until_async
from tests.support.servers import Process, over_http

CLIENTS = Clients()
HEAD_S, LONGER_S = 0.3, 0.5  # the time that a head may take here, and a longer one


@contextmanager
def connected(app: ASGIApp) -> Iterator[socket.socket]:
    """A connection to the app behind `ConnectionMiddleware`."""
    with (
        over_http(ConnectionMiddleware(app, CLIENTS), Connections(1000, CLIENTS).protocol) as port,
        connect(port) as connection,
    ):
        yield connection


@pytest.mark.parametrize(
    "line",
    [b"X: " + b"a" * 2**20 + b"\r\n", pytest.param(b"a: b\r\n" * 175000, marks=pytest.mark.long)],
    ids=["one line", "many lines"],
)
def test_a_head_of_a_megabyte_is_a_plain_400_and_keeps_no_memory(line: bytes, running: Process) -> None:
    process, before = psutil.Process(running.process.pid), 0
    for count in range(60):
        if count == 10:  # by then all that is taken once is there
            before = process.memory_info().rss
        with connect(running.port) as connection:
            with suppress(ConnectionError):
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n" + line)
            answer = answer_on(connection)
            assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert process.memory_info().rss - before < 50 * len(line) / 10
    assert running.post().status_code == 200


def test_half_a_head_and_none_are_closed_and_whole_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 2 * HANG_S)  # else it would end them
    with (
        serve_on_thread(FirstChannel(), monkeypatch, drain_s=1) as (it, _),
        connect(it.port) as silent,
        connect(it.port) as half,
        connect(it.port) as second,
        httpx.Client() as idle,
    ):
        second.sendall(head() + PHOTO)
        answer = answer_on(second)
        assert (answer.status, len(answer.read()) > 0) == (200, True)
        monkeypatch.setattr(connections, "HEAD_S", HEAD_S)
        half.sendall(head()[:20])
        second.sendall(head()[:20])
        assert idle.get(f"{it.url}/health", timeout=HANG_S).status_code == 200
        for connection in (half, second):
            assert is_closed(connection)
        silent.sendall(b"G")
        assert is_closed(silent)
        # an upload that takes longer than a head may, on a connection that has been idle for as long
        with connect(it.port) as slow:
            for _ in range(2):
                slow.sendall(head() + PHOTO[:50])
                time.sleep(LONGER_S)
                slow.sendall(PHOTO[50:])
                answer = answer_on(slow)
                assert (answer.status, len(answer.read()) > 0) == (200, True)
                time.sleep(LONGER_S)


def test_of_a_connection_that_its_client_resets_nothing_is_kept() -> None:
    def deadline_count() -> int:
        gc.collect()
        return sum(type(each) is Connection for each in gc.get_objects())

    gc.collect()
    gc.freeze()  # all that is here now: to look through it takes a second
    before = deadline_count()
    with over_http(ConnectionMiddleware(says_ok, CLIENTS), Connections(1000, CLIENTS).protocol) as port:
        for _ in range(20):
            with connect(port) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(100)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: deadline_count() - before < 3)
    gc.unfreeze()


async def says_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, b"ok")


def test_a_request_that_still_puts_things_away_does_not_end_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins once an answer is sent; its body may take longer than a head."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", HEAD_S)
    next_one = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/batch":
            next_one.set()
        while (await receive()).get("more_body"):
            pass
        await respond(send, 200, b"ok")
        if scope["path"] == "/batch":
            await next_one.wait()  # files are closed

    with connected(app) as connection:
        connection.sendall(b"GET /batch HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_on(connection).read() == b"ok"
        monkeypatch.setattr(connections, "HEAD_S", HEAD_S)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        time.sleep(LONGER_S)
        connection.sendall(b"2")
        assert answer_on(connection).read() == b"ok"


def test_what_closes_a_client_after_its_answer_leaves_its_next_request() -> None:
    """Who reads a job's result and then removes the job on the same connection gets its answer."""
    first, closed = list[Client](), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if first:
            first[0].close()
            closed.set()
        first.append(scope["state"]["client"])
        await respond(send, 200, b"ok")
        await closed.wait()  # files are closed

    with connected(app) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer_on(connection).read() == b"ok"


def test_requests_that_are_sent_ahead_wait_and_are_not_read() -> None:
    """Else a client could fill the memory. The first answer ends in the step of the event loop in which its request begins."""
    go, in_work = threading.Event(), list[Connection]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            connection = current_connection.get()
            assert connection
            in_work.append(connection)
            await wait_until_async(go.is_set)
        await respond(send, 200, b"ok")

    fast, slow = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(app) as connection:
        sender = threading.Thread(target=lambda: send_all(connection, fast + slow + 400_000 * fast))
        sender.start()
        await_answers(connection, 1)
        wait_until(lambda: len(in_work) == 1)
        time.sleep(LONGER_S)
        assert in_work[0].request_bytes < 1 << 18
        go.set()
        await_answers(connection, 100)
        connection.shutdown(socket.SHUT_RDWR)
        sender.join(HANG_S)


def test_empty_lines_before_a_request_are_ignored() -> None:
    with connected(says_ok) as connection:
        for empty_lines in (b"\r\n", b"\n\r\n"):
            connection.sendall(empty_lines + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = answer_on(connection)
            assert (answer.status, answer.read()) == (200, b"ok")


def await_answers(connection: socket.socket, count: int) -> None:
    received = b""
    while received.count(b"200 OK") < count:
        received += connection.recv(1 << 16)


def send_all(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n"])
def test_what_follows_the_last_request_of_a_connection_is_ignored(head: bytes) -> None:
    """As a line feed too many; the parser would answer 400 to it, in place of the answer."""
    go, in_work = threading.Event(), list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        in_work.append(scope["path"])
        await wait_until_async(go.is_set)
        await respond(send, 200, b"ok")

    with connected(app) as connection:
        connection.sendall(head)
        wait_until(lambda: in_work == ["/"])
        connection.sendall(b"\r\n")
        time.sleep(HEAD_S)
        go.set()
        answer = answer_on(connection)
        assert (answer.status, answer.read()) == (200, b"ok")
        assert is_closed(connection)
    assert in_work == ["/"]
