"""Limits the number of connections, sets a deadline for each request's head, and closes connections after their last answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.origins import network_of
from app.serving.clients import LEAST_WAIT_S, Client, Clients
from app.turns import Turns

HEAD_S = 30.0  # within which a request's head must arrive in full
# longer than load balancers keep an idle connection, so that none sends a request on a connection that was just closed
KEEP_ALIVE_S = 75
MAX_HEAD_BYTES = 1 << 15  # also of a chunk's line, and of trailers
# the most bytes of one read:
HEAD_READ_BYTES = 1 << 12  # of a head; if chunks of one byte follow it, parsing so many bytes takes about 10 ms
CHUNKS_READ_BYTES = 1 << 14  # of a body in chunks, which is refused once a thousand chunks are small
READ_BYTES = 1 << 16  # of a body with Content-Length
COSTLY_S = 0.001  # of the processor; if parsing one read costs more, the next read is as short as that of a head
DISCARD_S = 1.0  # for discarding the rest of a body before an answer closes the connection
PIECE_BYTES = 1 << 15  # of an answer; the next piece is sent when the system has taken the one before


class Connections:
    """A server's open connections, at most `limit`. Only for the event loop.

    When one more opens, the connection that has waited longest for a request's head is closed. It is idle or has sent a part of
    a head, and may be the new connection. If it has waited only a moment, the slowest client of the requests in progress is
    closed instead, if one is slow to send or to read.
    turns: of the senders, in which their bytes are parsed and their requests begin.
    """

    def __init__(self, limit: int, clients: Clients) -> None:
        self.limit, self.count, self.turns = limit, 0, Turns()
        self._clients = clients
        # the connections that wait for a head, the longest wait first: its start (`time.monotonic`), and the timer that ends it
        self._waiting: dict[Connection, tuple[float, asyncio.TimerHandle]] = {}

    def protocol(self, *args: Any, **kwargs: Any) -> Connection:
        """Makes the protocol of a new connection. This is uvicorn's `http` setting."""
        return Connection(self, H11Protocol(*args, **kwargs))

    def add(self, connection: Connection) -> None:
        """Counts a new connection, which waits for its first head."""
        self.count += 1
        self.begin_wait(connection, HEAD_S)
        if self.count <= self.limit:
            return
        longest_waiter, (since, _) = next(iter(self._waiting.items()))  # the new connection, if no other waits
        # a head that has just begun may be complete the next moment
        if time.monotonic() - since < LEAST_WAIT_S and self._clients.close_slowest():
            return
        self.end_wait(longest_waiter)
        longest_waiter.tcp.abort()

    def remove(self, connection: Connection) -> None:
        self.count -= 1
        self.end_wait(connection)

    def begin_wait(self, connection: Connection, seconds: float) -> None:
        """The connection waits for a head from now on. It is closed after these seconds, unless `end_wait` is called before."""
        self.end_wait(connection)
        timer = asyncio.get_running_loop().call_later(seconds, connection.tcp.abort)
        self._waiting[connection] = time.monotonic(), timer

    def end_wait(self, connection: Connection) -> None:
        if connection in self._waiting:
            self._waiting.pop(connection)[1].cancel()


class Connection(asyncio.BufferedProtocol):
    """A client's connection, with a deadline for each request's head. Only for the event loop.

    `http` parses the requests, each one after the answer to the one before, and writes the answers. A first head must arrive in
    full within `HEAD_S` seconds of the connection's start. After an answer, a byte must arrive within `KEEP_ALIVE_S` seconds,
    and its head in full within `HEAD_S` seconds of that byte. Else the connection is closed.
    One read takes at most `HEAD_READ_BYTES`, `CHUNKS_READ_BYTES` or `READ_BYTES`, so that other connections have their turn.
    exchange: the request in progress. request_bytes: parsed since that request began, including the lines of chunks.
    """

    def __init__(self, connections: Connections, http: asyncio.Protocol) -> None:
        self.http = http
        self.exchange: Exchange | None = None
        self.request_bytes = 0
        self._connections = connections
        self._body_bytes = 0  # of a body with Content-Length: the part that has not arrived, below 0 if more has arrived
        # whether a turn of this connection's network runs now; whether parsing in the last turn cost more than `COSTLY_S`
        self._has_turn = self._costs_much = False
        self._head_in_flight = self._half_closed = False  # whether a head has begun to arrive; whether the client sends no more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.http.connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that memory holds at most one piece of an answer
        self.tcp, self.network = transport, network_of(transport.get_extra_info("peername"))
        self._connections.add(self)

    def pause_writing(self) -> None:
        self.http.pause_writing()

    def resume_writing(self) -> None:
        self.http.resume_writing()

    def get_buffer(self, sizehint: int) -> bytearray:
        least = CHUNKS_READ_BYTES if self.exchange and not self._costs_much else HEAD_READ_BYTES
        self._buffer = bytearray(min(max(self._body_bytes, least), READ_BYTES))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(self._buffer)[:nbytes])
        self._buffer = bytearray()  # frees the memory until more arrives
        self._body_bytes -= nbytes
        if not self.exchange and not self._head_in_flight:
            if not (data := data.lstrip(b"\r\n")):  # empty lines before a request are ignored (RFC 9112, section 2.2)
                return
            self._head_in_flight = True
            self._connections.begin_wait(self, HEAD_S)
        if self._body_bytes >= 0 and self.exchange:
            self.parse(data)  # without a turn: a part of a body with Content-Length costs little
            return
        self.tcp.pause_reading()
        self._connections.turns.add(self.network, partial(self._parse_in_turn, data), self._end_turn)

    def parse(self, data: bytes) -> None:
        """Parses the bytes of a read, and reads on, unless uvicorn has enough."""
        self.tcp.resume_reading()
        if self.tcp.is_closing() or (self.exchange and self.exchange.is_last):
            return  # `http` would answer 400 to bytes after the connection's last request
        self.request_bytes += len(data)
        current_connection.set(self)
        try:
            self.http.data_received(data)
        except h11.LocalProtocolError:  # `http` tried to answer 400 to the rest of a body, when an answer has already begun
            self.tcp.abort()

    def _parse_in_turn(self, data: bytes) -> None:
        self._has_turn = True
        self.parse(data)

    def _end_turn(self, cost: float) -> None:
        self._has_turn, self._costs_much = False, cost > COSTLY_S

    def eof_received(self) -> bool:
        """Returns whether the connection stays open for writing after its client has stopped sending.

        It stays open while a request that costs little is answered. It is closed if the request is for an image: a client that
        stops sending looks the same as one that has gone, and the network should not work for a client that has gone.
        """
        self._half_closed = True
        asyncio.get_running_loop().call_soon(self._close_if_idle)  # not at once: a request that has arrived begins first
        return not self.exchange or self.exchange.answers_half_closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        self._buffer = bytearray()
        # with an error, uvicorn would not stop its keep-alive timer, and the timer would keep this connection in memory
        self.http.connection_lost(None)
        current_connection.set(None)

    async def turn(self, sender: str) -> None:
        """Waits for a turn of the sender, for work of at most some milliseconds, such as the start of a request.

        Returns at once for the first request of a read: it begins in the turn in which it was parsed.
        """
        if self._has_turn and sender == self.network:
            self._has_turn = False  # a second request of the read needs a turn of its own
            return
        has_come = asyncio.Event()
        self._connections.turns.add(sender, has_come.set)
        await has_come.wait()

    def begin(self, exchange: Exchange) -> None:
        """Notes that a request goes to the application. May close the connection of a client that has stopped sending."""
        self._connections.end_wait(self)
        self.exchange, self.request_bytes, self._body_bytes = exchange, 0, int(exchange.body_length or 0)
        if self._half_closed and not exchange.answers_half_closed:
            self.tcp.close()

    def end(self, exchange: Exchange) -> None:
        """Notes that the application has returned. Waits for the next head, unless the answer has closed the connection."""
        # an application may return some time after its answer was sent; the next request may have begun by then
        if exchange is not self.exchange:
            return
        self.exchange, self._head_in_flight = None, False
        if self._half_closed:
            asyncio.get_running_loop().call_soon(self._close_if_idle)
        elif not self.tcp.is_closing():
            self._connections.begin_wait(self, KEEP_ALIVE_S)

    def _close_if_idle(self) -> None:
        if not self.exchange:
            self.tcp.close()


# of the current request: uvicorn starts the application in the context in which `Connection.parse` calls `data_received`
current_connection: ContextVar[Connection | None] = ContextVar("connection", default=None)


class Exchange:
    """A request and its answer on a connection. Only for the event loop.

    An answer closes the connection if the request or `complete` says so, or if the answer begins before the whole body has
    arrived: the next bytes may be the rest of the body, but a client may also leave out the rest and send another request.
    Such an answer is sent at once. Then the rest of the body is discarded for up to `DISCARD_S` seconds, because the system
    resets a connection with unread data, and a client that still sends might then not see the answer.

    connection: None outside of a server. complete: adds headers to an answer's first message, and returns whether the answer
    closes the connection. body_length: the text of Content-Length; empty without one. body_complete: whether the whole body has
    arrived. answers_half_closed: whether to answer a client that has stopped sending.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, connection: Connection | None, complete: Callable[[Message], bool]
    ) -> None:
        headers = Headers(scope=scope)
        self._scope, self._receive, self._send, self._connection, self._complete = scope, receive, send, connection, complete
        self.body_length = headers.get("content-length", "")
        self.body_complete = not int(self.body_length or 0) and "transfer-encoding" not in headers
        self.answers_half_closed = scope["method"] != "POST"
        self._waits_for_100 = "expect" in headers  # whether the client sends its body only after `100 Continue`
        tokens = ",".join(headers.getlist("connection")).lower().split(",")
        # whether the answer closes the connection, as far as is known
        self._answer_closes = scope.get("http_version") == "1.0" or "close" in map(str.strip, tokens)
        self._sent_bytes, self._has_ended = 0, False
        self.client = scope.setdefault("state", {})["client"] = Client(self._moved_bytes, self._close)
        self.client.is_uploading = not self.body_complete  # until its answer begins

    @property
    def is_last(self) -> bool:
        """Whether no more bytes of the client count: the whole body has arrived, and the answer closes the connection."""
        return self._answer_closes and self.body_complete

    async def receive(self) -> Message:
        """The next part of the body. The wait for it counts as time of the client."""
        if self.body_complete:
            return await self._receive()
        with self.client.waiting():
            message = await self._receive()
        self._waits_for_100 = False
        self.body_complete = message["type"] != "http.request" or not message.get("more_body", False)
        self.client.is_uploading &= not self.body_complete
        return message

    async def send(self, message: Message) -> None:
        """Sends a part of the answer, in pieces of `PIECE_BYTES`."""
        if message["type"] == "http.response.start":
            if not self.body_complete:
                MutableHeaders(scope=message)["Connection"] = "close"
            self._answer_closes |= self._complete(message)
            self.client.is_uploading = False
            await self._send_piece(message)
            return
        body, more_body = memoryview(message.get("body", b"")), message.get("more_body", False)
        must_discard = self._answer_closes and not more_body and not self.body_complete and not self._waits_for_100
        for start in range(0, max(len(body), 1), PIECE_BYTES):
            more = more_body or must_discard or start + PIECE_BYTES < len(body)
            await self._send_piece({"type": message["type"], "body": body[start : start + PIECE_BYTES], "more_body": more})
        if must_discard:
            with suppress(TimeoutError, asyncio.CancelledError):  # the answer must end in any case
                async with asyncio.timeout(DISCARD_S):
                    while not self.body_complete:
                        await self.receive()
            await self._send_piece({"type": message["type"], "body": b"", "more_body": False})

    async def _send_piece(self, message: Message) -> None:
        if self._connection and self._connection.tcp.is_closing():
            return
        with self.client.waiting():
            await self._send(message)
        self._sent_bytes += len(message.get("body", b""))
        self._has_ended = not message.get("more_body", message["type"] == "http.response.start")

    def _moved_bytes(self) -> int:
        connection = self._connection
        return connection.request_bytes + self._sent_bytes - connection.tcp.get_write_buffer_size() if connection else 0

    def _close(self) -> None:
        if self._has_ended:  # by now the connection may have the client's next request
            return
        self._scope["state"].get("log_fields", {})["closed"] = self.client.reason  # for the request's log line
        if self._connection:
            self._connection.tcp.abort()


class ConnectionMiddleware:
    """The outermost middleware: handles a request's connection, and adds `headers` to every answer.

    The request's state has its `Client` as `client`, registered with `clients`. While `ending()` is true, each answer closes
    its connection, so that the client opens its next one to another server. After a 400 of the server itself, no other answer
    is sent.
    """

    def __init__(
        self, app: ASGIApp, clients: Clients, ending: Callable[[], bool] = lambda: False, headers: Mapping[str, str] = {}
    ) -> None:
        self.app, self.clients, self.ending, self.headers = app, clients, ending, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        connection = current_connection.get()
        exchange = Exchange(scope, receive, send, connection, self._complete)
        if not connection:
            await self.app(scope, exchange.receive, exchange.send)
            return
        connection.begin(exchange)
        try:
            with self.clients.registered(exchange.client):
                await connection.turn(network_of(scope.get("client")))
                if not connection.tcp.is_closing():
                    await self.app(scope, exchange.receive, exchange.send)
                while connection.tcp.is_closing() and (await receive())["type"] != "http.disconnect":
                    pass  # a return without an answer before `http.disconnect` would be an error to the server
        finally:
            connection.end(exchange)

    def _complete(self, start: Message) -> bool:
        """Adds headers to an answer's first message. Returns whether the answer closes the connection."""
        headers = MutableHeaders(scope=start)
        for name, value in self.headers.items():
            headers.setdefault(name, value)
        if self.ending():
            headers["Connection"] = "close"
        return headers.get("connection") == "close"
