"""Clients that send or read slowly: what each costs, and who is closed when others wait for what they hold."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psutil
import pytest
from starlette.types import Receive, Scope, Send

from app.connections import ConnectionMiddleware, Connections
from app.server import CONNECTION_BYTES
from app.serving.clients import Client, Clients
from tests.support.app.exchanges import answer_on, respond
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import Process, over_http

BUNDLE = "/docs/static/swagger-ui-bundle.js"


@contextmanager
def slow_reader(port: int, request: bytes) -> Iterator[socket.socket]:
    """A client with a small buffer, which has sent its request and reads nothing."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(HANG_S)
        connection.connect(("127.0.0.1", port))
        with suppress(ConnectionError):
            connection.sendall(request)
        yield connection


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_one_more_connection_takes_the_place_of_the_slowest_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.clients.LEAST_WAIT_S", 0.05)
    begun: list[Client] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(1 << 23) if scope["path"] == "/long" else b"ok"
        begun.append(scope["state"]["client"])
        await respond(send, 200, body)

    clients = Clients()
    with (
        over_http(ConnectionMiddleware(app, clients), Connections(3, clients).protocol) as port,
        slow_reader(port, get("/long")) as first, slow_reader(port, get("/long")) as second,
        slow_reader(port, get("/long")) as third,
    ):  # fmt: skip
        wait_until(lambda: len(begun) == 3)
        wait_until(lambda: all(client.waited_s > 0.05 for client in begun))
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=HANG_S).text == "ok"
        assert sum(client.is_closed for client in begun[:3]) == 1  # each of the three others had ended before the next one
        assert [is_reset(each) for each in (first, second, third)].count(True) == 1


def is_reset(connection: socket.socket) -> bool:
    """Reads the whole answer; whether the service has reset the connection before its end."""
    try:
        return len(answer_on(connection).read()) < 0
    except (ConnectionResetError, http.client.IncompleteRead):
        return True


@pytest.mark.parametrize("path", [BUNDLE, "/openapi.json"])
def test_a_client_that_reads_nothing_costs_no_more_than_is_reckoned(running: Process, path: str) -> None:
    process, count = psutil.Process(running.process.pid), 300
    for _ in range(3):
        assert httpx.get(running.url + path, timeout=HANG_S).status_code == 200
    before, files = process.memory_info().rss, process.num_fds()
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(slow_reader(running.port, get(path)))
        wait_until(lambda: process.num_fds() >= files + count - 4)
        assert httpx.get(f"{running.url}/health/live", timeout=HANG_S).status_code == 200
        # the other half is for what the system keeps
        assert (process.memory_info().rss - before) / count < CONNECTION_BYTES * 0.6
        assert process.num_fds() <= files + count + 4  # no file is open for it
    assert running.post().status_code == 200
