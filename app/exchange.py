"""A request and its answer on a connection: the answer in pieces, and the rest of a body when the connection closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.connections import Connection, current_connection
from app.parsing import to_origin_form
from app.serving.clients import Client, Clients

DISCARD_S = 1.0  # for discarding the rest of a body when the answer closes the connection
PIECE_BYTES = 1 << 15  # of an answer at a time: the next piece follows when the system has taken the one before


class Exchange:
    """A request and its answer on a connection (None outside of a server). Only for the event loop.

    complete: completes an answer's start, and returns whether the answer closes the connection.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, connection: Connection | None, complete: Callable[[Message], bool]
    ) -> None:
        headers = Headers(scope=scope)
        self._scope, self._receive, self._send, self._complete = scope, receive, send, complete
        self._connection = connection
        self.body_complete = "content-length" not in headers and "transfer-encoding" not in headers
        # a client that waits for "100 Continue" has not sent its body, so there is nothing to discard
        self._more_to_come = "expect" not in headers and not self.body_complete
        self._closing = False
        self._sent_bytes = 0
        self.client = scope.setdefault("state", {})["client"] = Client(self._moved_bytes, self._close)
        self.client.uploading = not self.body_complete

    async def receive(self) -> Message:
        """The next part of the body. The time until it has arrived counts for the client."""
        if self.body_complete:
            return await self._receive()
        with self.client.waiting():
            message = await self._receive()
        self._more_to_come = message["type"] == "http.request" and message.get("more_body", False)
        self.body_complete = not self._more_to_come
        self.client.uploading = self._more_to_come and not self._closing
        return message

    async def send(self, message: Message) -> None:
        """Sends a part of the answer in pieces, and discards the rest of the body if the answer closes the connection."""
        if message["type"] == "http.response.start":
            self._closing, self.client.uploading = self._complete(message), False
            if self._connection:
                self._connection.answer_began()
            await self._send_piece(message)
            return
        body, more_body = memoryview(message.get("body", b"")), message.get("more_body", False)
        must_discard = self._closing and self._more_to_come and not more_body
        for start in range(0, max(len(body), 1), PIECE_BYTES):
            more = more_body or must_discard or start + PIECE_BYTES < len(body)
            await self._send_piece({"type": message["type"], "body": body[start : start + PIECE_BYTES], "more_body": more})
        if self._connection and not more_body:
            self._connection.answer_ended()
        if must_discard:
            with suppress(TimeoutError, asyncio.CancelledError):  # the answer must end in any case
                async with asyncio.timeout(DISCARD_S):
                    while self._more_to_come:
                        await self.receive()
            await self._send_piece({"type": message["type"], "body": b"", "more_body": False})

    async def _send_piece(self, message: Message) -> None:
        if self._connection and self._connection.tcp.is_closing():
            return
        with self.client.waiting():
            await self._send(message)
        self._sent_bytes += len(message.get("body", b""))

    def _moved_bytes(self) -> int:
        if not self._connection:
            return 0
        return self._connection.http.request_bytes + self._sent_bytes - self._connection.tcp.get_write_buffer_size()

    def _close(self) -> None:
        self._scope["state"].get("known", {})["closed"] = "slow"  # for the request's log line
        if self._connection:
            self._connection.tcp.abort()


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
        connection = current_connection.get()
        exchange = Exchange(scope, receive, send, connection, self._complete)
        if not connection:
            await self.app(scope, exchange.receive, exchange.send)
            return
        number = connection.request_began(answers_half_closed=scope["method"] != "POST")
        try:
            with self.clients.registered(exchange.client):
                if not connection.tcp.is_closing():
                    await self.app(scope, exchange.receive, exchange.send)
                while connection.tcp.is_closing() and (await receive())["type"] != "http.disconnect":
                    pass  # without an answer, the server must not take this for an error of the application
        finally:
            connection.request_ended(number, body_complete=exchange.body_complete)

    def _complete(self, start: Message) -> bool:
        """Adds headers to an answer's start. Returns whether the answer closes the connection."""
        headers = MutableHeaders(scope=start)
        for name, value in self.headers.items():
            headers.setdefault(name, value)
        if self.ending():
            headers["Connection"] = "close"
        return headers.get("connection") == "close"
