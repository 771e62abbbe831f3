"""What a client may do with a connection before and after its request: how many there are, a deadline for heads, closing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

ABSOLUTE = re.compile(
    rb"https?://(?P<host>(?:[^][/?#@:]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{0,5}))?)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL
)
MAX_HEAD_BYTES = 32768
FIRST_READ, LEAST_READ, MOST_READ = 1 << 9, 1 << 7, 1 << 18  # bytes that are read from a connection at a time:
READ_S = 0.00025  # fewer where they kept the event loop busy for longer, as chunks of a byte do, else more,
COSTLY_SHARE, MOST_COSTLY_S = 0.25, 0.25  # of the event loop's time for what costs so much, and how far it may be behind
MOST_CHUNKED_READ = 1 << 13  # and never as many of a body in chunks, which may be large ones first and then small ones
LARGEST_PORT = 65535
HEAD_S = 30.0  # for a request's head to arrive in full
# longer than load balancers keep a connection that is idle, so that none sends into one that has just been closed
KEEP_ALIVE_S = 75
DISCARD_S = 1.0  # for what is left of a body whose answer closes the connection


class Connections:
    """A server's open connections, at most `limit`. On the event loop alone.

    Where one more comes, that which has waited longest for a head makes room, as half a head or an idle one does; where none
    waits, the new one is closed.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._costly_until = 0.0  # when a share of the event loop's time would have been enough for what was costly
        self._waiting: dict[HeadDeadline, None] = {}  # in the order in which they began to wait

    def protocol(self, *args: Any, **kwargs: Any) -> HeadDeadline:
        """For a connection that comes: uvicorn's `http`."""
        return HeadDeadline(self, *args, **kwargs)

    def opened(self, connection: HeadDeadline) -> None:
        self.count += 1
        if self.count > self.limit:
            closing = next(iter(self._waiting), connection)
            self.served(closing)
            closing.tcp.abort()

    def closed(self, connection: HeadDeadline) -> None:
        self.count -= 1
        self.served(connection)

    def costs(self, connection: HeadDeadline, seconds: float) -> None:
        """Few bytes of a body cost so much; it is closed where those of all connections have cost more than their share."""
        now = time.monotonic()
        self._costly_until = max(now, self._costly_until) + seconds / COSTLY_SHARE
        if self._costly_until - now > MOST_COSTLY_S:
            connection.tcp.abort()

    def waits(self, connection: HeadDeadline) -> None:
        """It waits for a head from now on."""
        self.served(connection)
        self._waiting[connection] = None

    def served(self, connection: HeadDeadline) -> None:
        """It does not wait any more."""
        self._waiting.pop(connection, None)


class HeadDeadline(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's HTTP, whose connection is closed where a head, once awaited, is not complete within `HEAD_S` seconds.

    Reads fewer bytes at a time while what it has read keeps the event loop busy for more than `READ_S` seconds.
    request_bytes: that have come since the application has had the request.

    A head is awaited from the connection's start, and, after an answer, from the first byte that comes then; for that first
    byte there are `KEEP_ALIVE_S` seconds. Adds to methods of `asyncio.Protocol` alone; which requests have begun and ended it
    hears from `ConnectionMiddleware`. Runs on the event loop alone.
    """

    read_bytes: int
    most_read: int

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections_open = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.tcp = transport
        self.request_bytes = 0
        self.head_timer: asyncio.TimerHandle | None = None
        self.head_begun = self.request_in_flight = self.answers_half_closed = self.half_closed = False
        self.requests = 0
        self.connections_open.opened(self)
        self.await_head(HEAD_S)

    def get_buffer(self, sizehint: int) -> bytearray:
        self.received = bytearray(self.read_bytes)
        return self.received

    def buffer_updated(self, nbytes: int) -> None:
        data, self.received = bytes(memoryview(self.received)[:nbytes]), bytearray()  # it keeps none while nothing comes
        of_body, started = self.request_in_flight, time.thread_time()  # not while others have the processor
        self.data_received(data)
        if (seconds := time.thread_time() - started) > READ_S:
            if of_body and nbytes <= FIRST_READ:
                self.connections_open.costs(self, seconds)
            self.read_bytes = max(LEAST_READ, self.read_bytes // 4)
        elif nbytes == self.read_bytes:
            self.read_bytes = min(self.most_read, 2 * self.read_bytes)

    def data_received(self, data: bytes) -> None:
        self.request_bytes += len(data)
        if not self.request_in_flight and not self.head_begun:
            self.head_begun = True
            self.await_head(HEAD_S)
        _connection.set(self)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open for writing although its client sends no more.

        It does while a request is answered that costs little. For an image, the end is taken for that of the client, since the
        two look the same: the network is not to work for those who have gone.
        """
        self.half_closed = True
        return self.request_in_flight and self.answers_half_closed

    def close_if_idle(self) -> None:
        if not self.request_in_flight:
            self.tcp.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        self.connections_open.closed(self)
        self.received = bytearray()
        # with an error, uvicorn would leave its timer for keep-alive, and with it this connection in memory
        super().connection_lost(None)

    def request_began(self, *, answers_half_closed: bool, chunked: bool) -> int:
        """Gives the request's number, for `request_ended`. answers_half_closed: also where its client sends no more."""
        self.stop_waiting()
        self.connections_open.served(self)
        self.request_bytes, self.most_read = 0, MOST_CHUNKED_READ if chunked else MOST_READ
        self.request_in_flight, self.answers_half_closed = True, answers_half_closed
        self.requests += 1
        return self.requests

    def request_ended(self, number: int, *, read: bool) -> None:
        """read: whether all of its body was; else what comes next is the rest of it, and begins no head."""
        if number != self.requests:  # the next one began once the answer was sent, while this one still put things away
            return
        self.request_in_flight, self.head_begun = False, not read
        if self.half_closed:  # after requests that came on the same connection and are answered next
            asyncio.get_running_loop().call_soon(self.close_if_idle)
        elif not self.tcp.is_closing():
            self.await_head(KEEP_ALIVE_S)

    def await_head(self, seconds: float) -> None:
        self.stop_waiting()
        self.read_bytes, self.most_read = FIRST_READ, MOST_CHUNKED_READ
        self.connections_open.waits(self)
        self.head_timer = asyncio.get_running_loop().call_later(seconds, self.tcp.abort)

    def stop_waiting(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()


_connection: ContextVar[HeadDeadline | None] = ContextVar("connection", default=None)
"""The connection of a request: the application runs in the context in which its head's last bytes were received."""


def connection_abort() -> Callable[[], None]:
    """What closes the connection of the request that is being answered, at once."""
    connection = _connection.get()
    return connection.tcp.abort if connection else lambda: None


def request_bytes() -> int | None:
    """How many bytes have come since the application has had the request that is being answered, with what frames its body.

    None where the server does not count them.
    """
    connection = _connection.get()
    return connection.request_bytes if connection else None


class ConnectionMiddleware:
    """The outermost middleware: what concerns a request's connection, and headers that every answer bears.

    Gives its target in origin form, and tells its connection when the application has it and when it has answered. While
    `ending` holds, an answer closes its connection, so that its client opens the next one elsewhere. An answer that closes goes
    out at once, and what still comes of the body is discarded for a second: closed with data unread, the system would reset
    the connection, and a client that still sends might not see its answer.
    """

    def __init__(
        self, app: ASGIApp, ending: Callable[[], bool] = lambda: False, headers: Mapping[str, str] | None = None
    ) -> None:
        self.app = app
        self.ending = ending
        self.headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        to_origin_form(scope)
        connection, headers = _connection.get(), Headers(scope=scope)
        number = 0
        if connection:
            number = connection.request_began(
                answers_half_closed=scope["method"] != "POST", chunked="transfer-encoding" in headers
            )
        read = "content-length" not in headers and "transfer-encoding" not in headers
        # a client that waits for leave to send gets none
        comes, closes = "expect" not in headers and not read, False

        async def receive_body() -> Message:
            nonlocal read, comes
            message = await receive()
            comes = message["type"] == "http.request" and message.get("more_body", False)
            read = not comes
            return message

        async def send_answer(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start":
                closes = self._complete(message)
            elif closes and comes and not message.get("more_body"):
                await send({**message, "more_body": True})
                with suppress(TimeoutError, asyncio.CancelledError):  # it ends in any case
                    async with asyncio.timeout(DISCARD_S):
                        while comes:
                            await receive_body()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self.app(scope, receive_body, send_answer)
        finally:
            if connection:
                connection.request_ended(number, read=read)

    def _complete(self, start: Message) -> bool:
        """Adds headers to an answer's start; whether it closes the connection."""
        headers = MutableHeaders(scope=start)
        for name, value in self.headers.items():
            headers.setdefault(name, value)
        if self.ending():
            headers["Connection"] = "close"
        return headers.get("connection") == "close"


def to_origin_form(scope: Scope) -> None:
    """Turns a target in absolute form, `http://host/path`, into its path, and its host into the header (RFC 9112, 3.2.2).

    A target whose host is none stays as it is, and is found nowhere.
    """
    root = scope.get("root_path", "")
    absolute = ABSOLUTE.fullmatch(scope.get("raw_path", b"").removeprefix(root.encode()))
    if absolute and int(absolute["port"] or 0) <= LARGEST_PORT:
        raw_path = absolute["path"] or b"/"
        scope["path"], scope["raw_path"] = root + unquote(raw_path.decode("latin-1")), root.encode() + raw_path
        MutableHeaders(scope=scope)["host"] = absolute["host"].decode("latin-1")
