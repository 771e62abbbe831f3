"""Bytes that are not HTTP, at any place of a connection: 400 or a closed connection, at most a line of the log."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from benchmarks.harness.malformed import OTHERS, ROUTES, garbage
from tests.support.app.exchanges import PHOTO, connect
from tests.support.polling import wait_until
from tests.support.servers import Process


@pytest.mark.parametrize(
    "route",
    [*ROUTES, *(pytest.param(route, marks=pytest.mark.long) for route in OTHERS)],
    ids=[route.decode() for route in ROUTES + OTHERS],
)
def test_a_client_s_protocol_error_is_no_error_of_the_service(running: Process, route: bytes) -> None:
    before = len(running.log.read_bytes())
    count = 0
    for pieces in garbage(route):
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
