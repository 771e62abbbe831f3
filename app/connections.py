"""Connections before and after their requests: a limit on their number, a deadline for request heads, and closing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.serving.clients import LEAST_WAIT_S, Client, Clients
from app.targets import to_origin_form

MAX_HEAD_BYTES = 32768
FIRST_READ_BYTES, LEAST_READ_BYTES, MOST_READ_BYTES = 1 << 9, 1 << 7, 1 << 18  # bytes read from a connection at a time
READ_S = 0.00025  # processor time of one read; after a longer one the next read takes fewer bytes, else more
COSTLY_SHARE = 0.25  # largest share of the event loop's time for small reads that take longer than `READ_S`
MOST_COSTLY_S = 0.25  # largest excess over that share, in seconds
MOST_CHUNK_BYTES = 1 << 13  # bytes at a time of a chunked body: small, costly chunks may follow large ones
HEAD_S = 30.0  # for a request's head to arrive in full
# longer than load balancers keep an idle connection, so that none sends a request on a connection that was just closed
KEEP_ALIVE_S = 75
DISCARD_S = 1.0  # for discarding the rest of a body when the answer closes the connection
PIECE_BYTES = 1 << 15  # of an answer at a time: the next piece follows when the system has taken the one before


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
        self._costly_until = 0.0  # the time at which the costly reads so far fit into `COSTLY_SHARE`
        # connections that wait for a head, and since when, the longest wait first
        self._waiting: dict[LimitedProtocol, float] = {}

    def protocol(self, *args: Any, **kwargs: Any) -> LimitedProtocol:
        """Makes the protocol of a new connection. This is uvicorn's `http` setting."""
        return LimitedProtocol(self, *args, **kwargs)

    def add(self, connection: LimitedProtocol) -> None:
        self.count += 1
        if self.count <= self.limit:
            return
        closing, since = next(iter(self._waiting.items()), (connection, time.monotonic()))
        # a head that has just begun may be complete the next moment
        if time.monotonic() - since < LEAST_WAIT_S and self._clients.close_slowest():
            return
        self.end_wait(closing)
        closing.tcp.abort()

    def remove(self, connection: LimitedProtocol) -> None:
        self.count -= 1
        self.end_wait(connection)

    def charge_costly_read(self, connection: LimitedProtocol, seconds: float) -> None:
        """Counts a small read of a body that took `seconds`, longer than `READ_S`.

        Closes the connection if such reads, of all connections together, exceed their share of the event loop's time.
        """
        now = time.monotonic()
        self._costly_until = max(now, self._costly_until) + seconds / COSTLY_SHARE
        if self._costly_until - now > MOST_COSTLY_S:
            connection.tcp.abort()

    def begin_wait(self, connection: LimitedProtocol) -> None:
        """The connection waits for a head from now on."""
        self.end_wait(connection)
        self._waiting[connection] = time.monotonic()

    def end_wait(self, connection: LimitedProtocol) -> None:
        """The connection does not wait for a head any more."""
        self._waiting.pop(connection, None)


class LimitedProtocol(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's HTTP protocol, with a deadline for the request's head. Only for the event loop.

    A head must arrive in full within `HEAD_S` seconds, counted from the connection's start or, after an answer, from the next
    byte that arrives. That byte must arrive within `KEEP_ALIVE_S` seconds. Else the connection is closed.

    Reads fewer bytes at a time while a read keeps the event loop busy for more than `READ_S` seconds.
    request_bytes: bytes that have arrived since the application was given the request.

    Overrides only methods of `asyncio`'s protocols. `ConnectionMiddleware` reports when requests begin and end.
    """

    read_bytes: int
    most_read_bytes: int

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open_connections = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that at most one piece of an answer is kept here
        self.tcp = transport
        self.request_bytes = 0
        self.head_timer: asyncio.TimerHandle | None = None
        self.head_in_flight = self.request_in_flight = self.answers_half_closed = self.half_closed = False
        self.requests = 0
        self.open_connections.add(self)
        self.await_head(HEAD_S)

    def get_buffer(self, sizehint: int) -> bytearray:
        self.read_buffer = bytearray(self.read_bytes)
        return self.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data, self.read_buffer = bytes(memoryview(self.read_buffer)[:nbytes]), bytearray()  # no buffer while nothing arrives
        is_body, start = self.request_in_flight, time.thread_time()  # leaves out time in which other threads run
        self.data_received(data)
        if (seconds := time.thread_time() - start) > READ_S:
            if is_body and nbytes <= FIRST_READ_BYTES:
                self.open_connections.charge_costly_read(self, seconds)
            self.read_bytes = max(LEAST_READ_BYTES, self.read_bytes // 4)
        elif nbytes == self.read_bytes:
            self.read_bytes = min(self.most_read_bytes, 2 * self.read_bytes)

    def data_received(self, data: bytes) -> None:
        self.request_bytes += len(data)
        if not self.request_in_flight and not self.head_in_flight:
            self.head_in_flight = True
            self.await_head(HEAD_S)
        _connection.set(self)
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # it wanted to answer 400 to invalid bytes, and another answer has begun
            self.tcp.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns whether the connection stays open for writing after its client has stopped sending.

        It stays open while a request that costs little is answered. For an image it is closed: a client that only stops
        sending looks the same as one that has gone, and the network should not work for a client that has gone.
        """
        self.half_closed = True
        return self.request_in_flight and self.answers_half_closed

    def close_if_idle(self) -> None:
        if not self.request_in_flight:
            self.tcp.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        self.open_connections.remove(self)
        self.read_buffer = bytearray()
        # given an error, uvicorn would leave its keep-alive timer running, which would keep this connection in memory
        super().connection_lost(None)

    def request_began(self, *, answers_half_closed: bool, chunked: bool) -> int:
        """Returns the request's number, for `request_ended`.

        answers_half_closed: whether to answer a client that has stopped sending. chunked: whether the body comes in chunks.
        """
        self.stop_waiting()
        self.open_connections.end_wait(self)
        self.request_bytes, self.most_read_bytes = 0, MOST_CHUNK_BYTES if chunked else MOST_READ_BYTES
        self.request_in_flight, self.answers_half_closed = True, answers_half_closed
        self.requests += 1
        return self.requests

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
        self.read_bytes, self.most_read_bytes = FIRST_READ_BYTES, MOST_CHUNK_BYTES
        self.open_connections.begin_wait(self)
        self.head_timer = asyncio.get_running_loop().call_later(seconds, self.tcp.abort)

    def stop_waiting(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()


_connection: ContextVar[LimitedProtocol | None] = ContextVar("connection", default=None)
"""The connection of a request. The application runs in the context in which the last bytes of the head were received."""


def request_bytes() -> int | None:
    """Bytes that have arrived since the application was given the current request, with the framing of its body's chunks.

    None if the server does not count them.
    """
    connection = _connection.get()
    return connection.request_bytes if connection else None


class ConnectionMiddleware:
    """The outermost middleware: handles a request's connection, and adds `headers` to every answer.

    It turns the request's target into origin form. It tells the connection when the request begins and when it has ended. The
    request's state has its `Client` as `client`, registered with `clients`. Answers are sent in pieces of `PIECE_BYTES`. While
    `ending()` is true, each answer closes its connection, so that the client opens its next one elsewhere. An answer that
    closes the connection is sent at once; then the rest of the body is discarded for up to `DISCARD_S` seconds. Otherwise the
    system would reset the connection because of unread data, and a client that is still sending might not see the answer.
    If the server has answered 400 to invalid bytes, and closes the connection, no other answer is sent.
    """

    def __init__(
        self,
        app: ASGIApp,
        clients: Clients,
        ending: Callable[[], bool] = lambda: False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.app = app
        self.clients = clients
        self.ending = ending
        self.headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        to_origin_form(scope)
        connection, headers = _connection.get(), Headers(scope=scope)
        body_complete = "content-length" not in headers and "transfer-encoding" not in headers
        # a client that waits for "100 Continue" has not sent its body, so there is nothing to discard
        more_to_come, closing, sent_bytes = "expect" not in headers and not body_complete, False, 0

        def moved_bytes() -> int:
            return connection.request_bytes + sent_bytes - connection.tcp.get_write_buffer_size() if connection else 0

        def close() -> None:
            scope["state"].get("known", {})["closed"] = "slow"  # for the request's log line
            if connection:
                connection.tcp.abort()

        client = scope.setdefault("state", {})["client"] = Client(moved_bytes, close)
        client.uploading = not body_complete

        async def receive_body() -> Message:
            nonlocal body_complete, more_to_come
            if body_complete:
                return await receive()
            with client.waiting():
                message = await receive()
            more_to_come = message["type"] == "http.request" and message.get("more_body", False)
            body_complete = not more_to_come
            client.uploading = more_to_come and not closing
            return message

        async def send_piece(message: Message) -> None:
            nonlocal sent_bytes
            if connection and connection.tcp.is_closing():
                return
            with client.waiting():
                await send(message)
            sent_bytes += len(message.get("body", b""))

        async def send_answer(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start":
                closing, client.uploading = self._complete(message), False
                await send_piece(message)
                return
            body, more_body = memoryview(message.get("body", b"")), message.get("more_body", False)
            must_discard = closing and more_to_come and not more_body
            for start in range(0, max(len(body), 1), PIECE_BYTES):
                more = more_body or must_discard or start + PIECE_BYTES < len(body)
                await send_piece({"type": message["type"], "body": body[start : start + PIECE_BYTES], "more_body": more})
            if must_discard:
                with suppress(TimeoutError, asyncio.CancelledError):  # the answer must end in any case
                    async with asyncio.timeout(DISCARD_S):
                        while more_to_come:
                            await receive_body()
                await send_piece({"type": message["type"], "body": b"", "more_body": False})

        if not connection:
            await self.app(scope, receive_body, send_answer)
            return
        number = connection.request_began(answers_half_closed=scope["method"] != "POST", chunked="transfer-encoding" in headers)
        try:
            with self.clients.registered(client):
                if not connection.tcp.is_closing():
                    await self.app(scope, receive_body, send_answer)
                while connection.tcp.is_closing() and (await receive())["type"] != "http.disconnect":
                    pass  # without an answer, the server must not take this for an error of the application
        finally:
            connection.request_ended(number, body_complete=body_complete)

    def _complete(self, start: Message) -> bool:
        """Adds headers to an answer's start. Returns whether the answer closes the connection."""
        headers = MutableHeaders(scope=start)
        for name, value in self.headers.items():
            headers.setdefault(name, value)
        if self.ending():
            headers["Connection"] = "close"
        return headers.get("connection") == "close"
