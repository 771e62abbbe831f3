"""How a request's body comes through the gate."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.doorkeeper import Arrivals, Door
from app.gate import READ, gate
from app.jobs import AT_ONCE_BYTES
from app.telemetry import Metrics
from tests.conftest import over_http

PAUSE_S = 0.2


class Received(NamedTuple):
    """An app's messages, and a connection to it."""

    connection: socket.socket
    messages: list[Message]

    def send(self, *pieces: bytes) -> None:
        """A POST with these pieces as its body, one a while after the other; waits for the answer."""
        length = sum(map(len, pieces))
        self.connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        for piece in pieces:
            time.sleep(PAUSE_S)
            self.connection.sendall(piece)
        response = http.client.HTTPResponse(self.connection)
        response.begin()
        assert response.read() == b""

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages]


@pytest.fixture
def app_behind_the_gate() -> Iterator[Received]:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["more_body"]:
            messages.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def ask(request: Request) -> None:
        raise AssertionError

    door = Door(Route("/closed", ask), "/closed", lambda: None, Arrivals())
    with (
        over_http(app, gate(door, Metrics(lambda: 0, lambda: 1))) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        yield Received(connection, messages)


def test_a_small_body_wakes_its_request_once(app_behind_the_gate: Received) -> None:
    app_behind_the_gate.send(b"one, ", b"two, ", b"three")
    assert app_behind_the_gate.bodies == [b"one, two, three"]


def test_a_body_may_hold_what_ends_a_head(app_behind_the_gate: Received) -> None:
    app_behind_the_gate.send(b"one\r\n\r\ntwo\r\n\r\n", b"\r\n\r\nthree")
    assert app_behind_the_gate.bodies == [b"one\r\n\r\ntwo\r\n\r\n\r\n\r\nthree"]


def test_a_large_body_comes_piece_by_piece(app_behind_the_gate: Received) -> None:
    whole = bytes(range(256)) * (4 * AT_ONCE_BYTES // 256)
    app_behind_the_gate.send(whole[:1000], whole[1000:])
    assert b"".join(app_behind_the_gate.bodies) == whole
    assert max(map(len, app_behind_the_gate.bodies)) <= AT_ONCE_BYTES + READ
