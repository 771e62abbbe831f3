"""Connections before and after their requests: a limit on their number, and a deadline for request heads."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any

import h11

from app.parsing import PARSES_IN_C, READ_BYTES, StrictProtocol
from app.serving.clients import LEAST_WAIT_S, Clients

HEAD_S = 30.0  # for a request's head to arrive in full
# longer than load balancers keep an idle connection, so that none sends a request on a connection that was just closed
KEEP_ALIVE_S = 75


class Connections:
    """A server's open connections, at most `limit`. Only for the event loop.

    When one more opens, another is closed: the one that has waited longest for a request's head (it is idle, or has sent part
    of a head), or else the client of a request in progress that sends or reads slowest. If there is none, the new connection
    is closed.
    """

    def __init__(self, limit: int, clients: Clients) -> None:
        self.limit = limit
        self.count = 0
        self._clients = clients
        # connections that wait for a head, and since when, the longest wait first
        self._waiting: dict[Connection, float] = {}

    def protocol(self, *args: Any, **kwargs: Any) -> Connection:
        """Makes the protocol of a new connection. This is uvicorn's `http` setting."""
        return Connection(self, StrictProtocol(*args, **kwargs))

    def add(self, connection: Connection) -> None:
        self.count += 1
        if self.count <= self.limit:
            return
        closing, since = next(iter(self._waiting.items()), (connection, time.monotonic()))
        # a head that has just begun may be complete the next moment
        if time.monotonic() - since < LEAST_WAIT_S and self._clients.close_slowest():
            return
        self.end_wait(closing)
        closing.tcp.abort()

    def remove(self, connection: Connection) -> None:
        self.count -= 1
        self.end_wait(connection)

    def begin_wait(self, connection: Connection) -> None:
        """The connection waits for a head from now on."""
        self.end_wait(connection)
        self._waiting[connection] = time.monotonic()

    def end_wait(self, connection: Connection) -> None:
        """The connection does not wait for a head any more."""
        self._waiting.pop(connection, None)


class Connection(asyncio.BufferedProtocol):
    """A client's connection, with a deadline for each request's head. Only for the event loop.

    A head must arrive in full within `HEAD_S` seconds, counted from the connection's start or, after an answer, from the next
    byte that arrives. That byte must arrive within `KEEP_ALIVE_S` seconds. Else the connection is closed.

    At most `READ_BYTES` are read at a time, so that others have their turn. Bytes that arrive while `http` is busy wait here,
    and nothing more is read until they are parsed. `ConnectionMiddleware` reports when requests and answers begin and end.
    """

    def __init__(self, connections: Connections, http: StrictProtocol) -> None:
        self.open_connections = connections
        self.http = http
        self.waiting_bytes = b""
        self.head_timer: asyncio.TimerHandle | None = None
        self.head_in_flight = self.request_in_flight = self.answers_half_closed = self.half_closed = False
        self.requests = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.http.connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that at most one piece of an answer is kept here
        self.tcp = transport
        self.open_connections.add(self)
        self.await_head(HEAD_S)

    def pause_writing(self) -> None:
        self.http.pause_writing()

    def resume_writing(self) -> None:
        self.http.resume_writing()

    def get_buffer(self, sizehint: int) -> bytearray:
        self.read_buffer = bytearray(READ_BYTES)
        return self.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data, self.read_buffer = bytes(memoryview(self.read_buffer)[:nbytes]), bytearray()  # no buffer while nothing arrives
        if not self.request_in_flight and not self.head_in_flight:
            self.head_in_flight = True
            self.await_head(HEAD_S)
        self.parse(self.waiting_bytes + data)

    def parse(self, data: bytes) -> None:
        current_connection.set(self)
        position = 0
        try:
            while position < len(data) and not self.http.is_busy and not self.tcp.is_closing():
                position = self.http.feed(data, position)
        except h11.LocalProtocolError:  # it wanted to answer 400 to the rest of a body, after another answer
            self.tcp.abort()
        self.waiting_bytes = data[position:]
        if self.waiting_bytes:
            self.tcp.pause_reading()

    def eof_received(self) -> bool:
        """Returns whether the connection stays open for writing after its client has stopped sending.

        It stays open while a request that costs little is answered. For an image it is closed: a client that only stops
        sending looks the same as one that has gone, and the network should not work for a client that has gone.
        """
        self.half_closed = True
        return self.answers_half_closed if self.request_in_flight else self.http.is_busy  # busy: a request begins in a moment

    def close_if_idle(self) -> None:
        if not self.request_in_flight and not self.http.is_busy:
            self.tcp.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        self.open_connections.remove(self)
        self.read_buffer, self.waiting_bytes = bytearray(), b""
        # given an error, uvicorn would leave its keep-alive timer running, which would keep this connection in memory
        self.http.connection_lost(None)
        current_connection.set(None)

    def request_began(self, *, answers_half_closed: bool) -> int:
        """Returns the request's number, for `request_ended`.

        answers_half_closed: whether to answer a client that has stopped sending.
        """
        self.stop_waiting()
        self.open_connections.end_wait(self)
        if not PARSES_IN_C:
            self.http.request_bytes = 0  # h11 does not say when the head ends: what came with it is not counted
        self.request_in_flight, self.answers_half_closed = True, answers_half_closed
        self.requests += 1
        if self.half_closed and not answers_half_closed:
            self.tcp.close()
        return self.requests

    def answer_began(self) -> None:
        """What arrives from now on waits for the answer's end."""
        self.http.is_busy = True

    def answer_ended(self) -> None:
        """Parses what has arrived since the request."""
        self.http.end_answer()
        if self.waiting_bytes and not self.tcp.is_closing():
            self.tcp.resume_reading()
            self.parse(self.waiting_bytes)

    def request_ended(self, number: int, *, body_complete: bool) -> None:
        """Waits for the next head. body_complete: whether the whole body was read; if not, the next bytes belong to it."""
        if number != self.requests:  # the next request began when the answer was sent, before this one had cleaned up
            return
        self.request_in_flight, self.head_in_flight = False, not body_complete
        if self.half_closed:  # later, so that further requests already received on the connection begin first
            asyncio.get_running_loop().call_soon(self.close_if_idle)
        elif not self.tcp.is_closing():
            self.await_head(KEEP_ALIVE_S)

    def await_head(self, seconds: float) -> None:
        self.stop_waiting()
        self.open_connections.begin_wait(self)
        self.head_timer = asyncio.get_running_loop().call_later(seconds, self.tcp.abort)

    def stop_waiting(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()


current_connection: ContextVar[Connection | None] = ContextVar("connection", default=None)
"""The connection of a request. The application runs in the context in which the last bytes of the head were received."""


def request_bytes() -> int | None:
    """Bytes that have arrived since the application was given the current request, with the framing of its body's chunks.

    None if the server does not count them.
    """
    connection = current_connection.get()
    return connection.http.request_bytes if connection else None
