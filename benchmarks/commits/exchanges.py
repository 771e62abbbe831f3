"""Sends requests as bytes to a service, and takes what comes back apart."""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from select import select
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from benchmarks.commits.differences import Parts

PIECE = 1 << 16
PAUSE_S = 0.05  # for an answer between two pieces
QUIET_S = 2.0  # without a byte, a connection that neither side closes has no more to tell
PATIENCE_S = 120.0
LAST_TAG = b"THE-LAST-TAG"
"""Stands in a request for the tag that this side's service gave last."""


class Case(NamedTuple):
    """A request, as pieces that are sent apart. ends: whether the service closes the connection, rather than fall silent."""

    kind: str
    name: str
    pieces: tuple[bytes, ...]
    ends: bool = True


def case(kind: str, method: str, path: str, name: str = "", **content: object) -> Case:
    """A request whose answer ends the connection. content: as for `httpx.Request`, such as `headers`, `content`, `files`."""
    request = httpx.Request(method, f"http://service{path}", **content)  # type: ignore[arg-type]
    body = request.read()
    fields = [*request.headers.raw, (b"Connection", b"close")]
    target = path.encode() if path.isascii() else request.url.raw_path
    head = b"".join((b"%b %b HTTP/1.1\r\n" % (method.encode(), target), *(b"%b: %b\r\n" % each for each in fields), b"\r\n"))
    return Case(kind, f"{method} {path} {name}".strip(), (head + body,))


class Client:
    """Asks one service. tag: the entity tag that it gave last, without its quotes."""

    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.tag = b""

    def ask(self, case: Case) -> Parts:
        """Sends the request on a connection of its own; gives the parts of all answers to it."""
        received = self._exchange([piece.replace(LAST_TAG, self.tag) for piece in case.pieces], case.ends)
        parts = parts_of(received, case.pieces[0].startswith(b"HEAD "))
        self.tag = parts.get("header etag", self.tag).removeprefix(b"W/").strip(b'"')
        return parts

    def _exchange(self, pieces: list[bytes], ends: bool) -> bytes:
        received = bytearray()
        with socket.create_connection(self.address, PATIENCE_S) as connection, suppress(ConnectionError):
            with suppress(ConnectionError):
                for piece in pieces:
                    for start in range(0, len(piece), PIECE):
                        if start and select([connection], [], [], 0)[0]:  # it answers before all has come
                            break
                        connection.sendall(piece[start : start + PIECE])
                    if piece is not pieces[-1]:
                        select([connection], [], [], PAUSE_S)
            connection.settimeout(PATIENCE_S if ends else QUIET_S)
            with suppress(TimeoutError):
                while data := connection.recv(PIECE):
                    received += data
        return bytes(received)


def parts_of(received: bytes, is_head: bool = False) -> Parts:
    """The status line, headers and body of each answer; those behind the first one have their number before their names."""
    stream, parts, number = _Stream(received), dict[str, bytes](), 0
    while (start := stream.tell()) < len(received):
        before = f"{number} " if number else ""
        answer = HTTPResponse(stream, method="HEAD" if is_head else None)  # type: ignore[arg-type]
        try:
            answer.begin()
            parts[f"{before}body"] = answer.read()
        except (HTTPException, OSError, ValueError):
            return parts | {f"{before}bytes": received[start:]}
        parts[f"{before}status"] = f"{answer.version} {answer.status} {answer.reason}".encode()
        for name, value in answer.getheaders():
            parts[f"{before}header {name.lower()}"] = parts.get(f"{before}header {name.lower()}", b"") + value.encode("latin-1")
        number += 1
    return parts


class _Stream(io.BytesIO):
    """A socket with these bytes, whose answers follow one another: none of them closes it."""

    def makefile(self, _: str) -> io.BytesIO:
        return self

    def close(self) -> None:
        pass
