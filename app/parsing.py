"""uvicorn's HTTP protocol, given one message at a time, and strict about all that is not a body.

Targets in absolute form, as a client sends them to a proxy, become paths.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.sockets import LARGEST_PORT

MAX_HEAD_BYTES = 32768
PARSES_IN_C = AutoHTTPProtocol is not H11Protocol
READ_BYTES = 1 << 16 if PARSES_IN_C else 1 << 12  # at a time: parsing so many takes about 10 ms if they are chunks of a byte
END = b"\r\n\r\n"  # ends every head, and every body in chunks
MOST_ENDS = 1 << 13  # in a body in chunks, which is parsed up to each of them; every part of a form has one
UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)
ABSOLUTE = re.compile(
    rb"https?://(?P<host>(?:[^][/?#@:]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{0,5}))?)(?P<path>[/?].*)?", re.IGNORECASE | re.DOTALL
)


class StrictProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # uvicorn's choice: `httptools` if it is installed, else h11
    """Parses the requests of a connection. Only for the event loop.

    While it `is_busy`, it must not be fed: a complete request has no answer yet, or an answer is being sent. uvicorn would
    otherwise parse all requests that have arrived, would not tell the first that its client has gone, and would write its 400
    to invalid bytes into the midst of an answer.

    `httptools` has no limits of its own, so its callbacks set those of h11 (which does not call them): a head, the line of
    a chunk, and trailers may have `MAX_HEAD_BYTES` each. Trailers are left out. A request to upgrade the protocol is a usual
    one: `Upgrade` gets another name, because httptools would take the body for the other protocol. uvicorn logs an error in
    a callback as an invalid request, and answers it with a plain 400.
    request_bytes: bytes of the current request that have arrived after its head.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_busy = self.is_answered = self._is_in_body = False
        self.request_bytes = 0
        self._ends = 0  # in the current body
        self._tail = b""  # the latest bytes, in which an `END` may have begun
        self._other_bytes = 0  # since the latest bytes of a body
        self._body_bytes = 0  # of a body with Content-Length, still to come

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._tcp = transport

    def feed(self, data: bytes, start: int) -> int:
        """Parses the data from `start` to where a message may end. Returns this position."""
        if self._body_bytes:
            end = min(len(data), start + self._body_bytes)
            self._body_bytes -= end - start
        elif (at := (self._tail + data[start : start + 3]).find(END)) >= 0:
            end = start + at + len(END) - len(self._tail)
        else:
            at = data.find(END, start)
            end = at + len(END) if at >= 0 else len(data)
        piece = data[start:end]
        is_end = (self._tail + piece[-4:]).endswith(END)
        self._tail = b"" if is_end else (self._tail + piece[-3:])[-3:]  # the end of a message follows another byte than these
        self._ends += is_end
        if self._is_in_body and self._ends > MOST_ENDS:
            self._tcp.abort()
            return len(data)
        self.request_bytes += len(piece)
        self._other_bytes += len(piece)
        self.data_received(UPGRADE.sub(b"\r\nx-upgrade", piece) if PARSES_IN_C and not self._is_in_body else piece)
        if PARSES_IN_C and self._other_bytes > MAX_HEAD_BYTES and not self._tcp.is_closing():
            self.data_received(b"\0")  # which is invalid everywhere but in a body
        return end

    def send_400_response(self, msg: str) -> None:
        """Answers 400 to invalid bytes. If they are the rest of an answered request's body, closes the connection instead."""
        if self._is_in_body and self.is_answered:
            self._tcp.abort()
        else:
            super().send_400_response(msg)

    def end_answer(self) -> None:
        """The answer to the current request has been sent. Its body may still arrive."""
        self.is_answered, self.is_busy = True, False

    def on_message_begin(self) -> None:
        self.is_answered = False
        self._target, self._hosts, self._length = b"", list[bytes](), 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_body:
            return
        if name.lower() == b"host":
            self._hosts.append(value)
            return
        if name.lower() == b"content-length":
            self._length = int(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        target, host = origin_form(self._target)
        if self._other_bytes > MAX_HEAD_BYTES or b"#" in target or not (target.startswith(b"/") or target == b"*"):
            raise ValueError("the head is too long, or its target is invalid")
        super().on_url(target)
        for value in [host] if host and len(self._hosts) == 1 else self._hosts:
            super().on_header(b"host", value)
        self._is_in_body, self._body_bytes, self._ends = True, self._length, 0
        self._other_bytes = self.request_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._other_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_body, self._body_bytes, self._other_bytes = False, 0, 0
        self.is_busy = not self.is_answered
        super().on_message_complete()


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """A target in absolute form, `http://host/path`, as its path and its host; another target as it is, without a host.

    A target whose host or port is invalid stays as it is.
    """
    absolute = ABSOLUTE.fullmatch(target)
    if not absolute or int(absolute["port"] or 0) > LARGEST_PORT:
        return target, None
    path = absolute["path"] or b""
    return path if path.startswith(b"/") else b"/" + path, absolute["host"]


def to_origin_form(scope: Scope) -> None:
    """Replaces a target in absolute form by its path; its host becomes `Host` (RFC 9112, section 3.2.2).

    For h11, which gives the target as the path: no route matches an invalid one.
    """
    root = scope.get("root_path", "")
    raw_path, host = origin_form(scope.get("raw_path", b"").removeprefix(root.encode()))
    if host:
        scope["path"], scope["raw_path"] = root + unquote(raw_path.decode("latin-1")), root.encode() + raw_path
        MutableHeaders(scope=scope)["host"] = host.decode("latin-1")
