"""Bytes that are not HTTP, at any place of a connection: 400 or a closed connection, at most a line of the log."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.app.exchanges import PHOTO, connect
from tests.support.polling import wait_until
from tests.support.servers import Process, fcn_serve

CHUNKED = b"%b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
PLAIN = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
ROUTES = [b"POST /segment", b"GET /health", b"POST /nothing", b"GET /static/page.js"]
OTHERS = [
    b"POST /segment/batch", b"GET /openapi.json", b"POST /health", b"DELETE /segment", b"OPTIONS /segment", b"HEAD /",
    b"POST /segment?format=wrong", b"FOO /segment",
]  # fmt: skip
BAD_CHUNKS = [
    b"+1\r\na\r\n", b"-1\r\n", b"0x1\r\na\r\n", b"1_0\r\n", b"g\r\n", b"1 \r\na\r\n", b"1\r\nabc\r\n0\r\n\r\n",
    b"1" * 30 + b"\r\n", b"\r\n\r\n", b"1;" + b"e" * 40_000, b"\x00\xff\r\n", b"0\r\nbad trailer\r\n\r\n",
    b"0\r\n: x\r\n\r\n", b"1\r\na\r\n0\r\nContent-Length: 5 5\r\n\x00\r\n",
]  # fmt: skip
PIPELINED = [b"garbage\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01"]


def messages(route: bytes) -> Iterator[tuple[bytes, ...]]:
    """What is sent, in pieces that arrive apart."""
    for bad in BAD_CHUNKS:
        yield (CHUNKED % route + bad,)
        yield CHUNKED % route, bad
        yield CHUNKED % route + b"1\r\na\r\n", bad
    for garbage in PIPELINED:
        yield (PLAIN % b"/health" + garbage,)
        yield PLAIN % b"/static/page.js", garbage
        yield (LENGTH % (route, 3) + b"abc" + garbage,)
        yield (LENGTH % (route, 3) + b"abc" + PLAIN % b"/health" + garbage,)
    yield LENGTH % (route, 100) + b"abc", b""
    yield CHUNKED % route + b"5\r\nab", b""
    yield (LENGTH % (route, 5) + b"abcdefgh",)
    yield (b"%b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x00" % route,)


@pytest.fixture(scope="module")
def running(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with fcn_serve(narrow_file, tmp_path_factory.mktemp("log")) as it:
        yield it


@pytest.mark.parametrize(
    "route",
    [*ROUTES, *(pytest.param(route, marks=pytest.mark.long) for route in OTHERS)],
    ids=[route.decode() for route in ROUTES + OTHERS],
)
def test_a_client_s_protocol_error_is_no_error_of_the_service(running: Process, route: bytes) -> None:
    before = len(running.log.read_bytes())
    count = 0
    for pieces in messages(route):
        count += 1
        with connect(running.port) as connection, suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                if piece != pieces[-1]:
                    connection.settimeout(0.02)
                    with suppress(TimeoutError):
                        connection.recv(1 << 20)
                    connection.settimeout(30)
            with suppress(OSError):  # the service may have closed the connection
                connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda connection=connection: connection.recv(1 << 20), b""))  # type: ignore[misc]
            assert b" 500 " not in answer
    wait_until(lambda: running.post(PHOTO).status_code == 200)
    log = running.log.read_bytes()[before:].decode()
    assert "Traceback" not in log, log[-3000:]
    lines = [line for line in log.splitlines() if '"message": "request"' not in line]
    assert len(lines) <= 5, lines  # those of libraries, each kind once a minute
    assert len(log) < 500 * 4 * count
