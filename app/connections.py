"""What a client may do with a connection before and after its request: the listening socket, a deadline for heads, closing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.serving.service import Service

BACKLOG = 2048
MAX_HEAD_BYTES = 65536
HEAD_S = 30.0  # for a request's head to arrive in full
SILENT_S = 10  # that the system keeps a connection to itself on which nothing has come
UNREAD_S = 60  # that a client may take to acknowledge what was sent to it


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of whichever family it is; raises `OSError`.

    Where the system can, it keeps connections on which nothing has come to itself for a while, and drops those whose client
    acknowledges nothing, or reads nothing, for `UNREAD_S` seconds.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option, value in (("TCP_DEFER_ACCEPT", SILENT_S), ("TCP_USER_TIMEOUT", 1000 * UNREAD_S)):
            if hasattr(socket, option):
                with suppress(OSError):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class HeadDeadline(H11Protocol):
    """uvicorn's HTTP, whose connection is closed where a head, once awaited, is not complete within `HEAD_S` seconds.

    A head is awaited from the connection's start, and, after an answer, from its first byte on: before that the connection is
    idle, which `timeout_keep_alive` ends. Runs on the event loop alone.
    """

    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:  # a head is complete: a request has begun
            self._cancel()
        elif (cycle is None or cycle.response_complete) and self.timer is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self.timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _cancel(self) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer = None


class CloseWhileEnding:
    """While the service is to end, each answer closes its connection, so that its client opens the next one elsewhere."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_answer(message: Message) -> None:
            if message["type"] == "http.response.start" and (self.service.ending or self.service.draining):
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, send_answer)
