"""Requests whose head or framing is invalid or ambiguous: refused, with at most one line of the log.

Two programs that disagree on where a request ends let a client smuggle a second one past a proxy.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from benchmarks.harness.malformed import CHUNKED, GET, LAST, NEXT, POST, REFUSED, TAKEN, bodies
from tests.support.app.exchanges import PHOTO, answer_on, connect, head
from tests.support.servers import Process
from tests.support.variants import long


def exchange(port: int, *pieces: bytes) -> list[int]:
    """Sends the pieces; the statuses of all answers until the service closes the connection."""
    received = b""
    with connect(port) as connection, suppress(ConnectionError):
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        while data := connection.recv(1 << 16):
            received += data
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


def lines_of(running: Process) -> list[str]:
    """The log without those of requests."""
    return [line for line in running.log.read_text().splitlines() if '"message": "request"' not in line]


def test_what_is_invalid_or_ambiguous_is_refused_and_its_connection_is_closed(running: Process) -> None:
    before = len(lines_of(running))
    refused = {name: data for name, data in REFUSED.items() if data.strip()}  # empty lines alone are ignored, for a head's time
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(partial(exchange, running.port), refused.values()))
    for (name, data), statuses in zip(refused.items(), answers, strict=True):
        # none if the connection was reset, because more was sent than was read
        assert statuses in ([400], []) or (
            len(statuses) == 1 and data.startswith((b"SOURCE", b"DESCRIBE")) and statuses[0] in (404, 405)
        ), name
    assert len(lines_of(running)) <= before + 5  # those of libraries, each kind once a minute
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("rest", [b"z\r\n", *long(b"1\r\nab"), b"0\r\nX: " + b"b" * 60_000], ids=["size", "end", "trailer"])
def test_the_invalid_rest_of_a_body_gets_no_second_answer(running: Process, rest: bytes) -> None:
    received = b""
    with connect(running.port) as connection, suppress(ConnectionError):
        connection.sendall(CHUNKED + b"1\r\na\r\n" * 5000)  # refused before the end, as chunks this small are
        while not received.endswith(b"}"):
            received += connection.recv(1 << 16)
        connection.sendall(rest)
        while data := connection.recv(1 << 16):
            received += data
    assert re.findall(rb"HTTP/1\.1 (\d{3})", received) == [b"400"]


def test_what_is_unusual_and_valid_is_answered_and_the_next_request_follows(running: Process) -> None:
    for name, data in TAKEN.items():
        with connect(running.port) as connection:
            connection.sendall(data)
            assert answer_on(connection).status == 200, name
    for name, body in bodies(PHOTO).items():
        data = POST + body + LAST
        for pieces in ([data], [data[: len(POST)], data[len(POST) : -20], data[-20:]]):
            assert exchange(running.port, *pieces) == [200, 200], name


def test_requests_sent_at_once_are_answered_one_after_the_other(running: Process) -> None:
    data = 3 * (head() + PHOTO) + 200 * NEXT + head() + PHOTO + LAST + NEXT
    assert exchange(running.port, data) == [200] * 205


def test_a_head_may_have_32_kib_however_it_arrives(running: Process) -> None:
    for size, status in ((32_000, 200), (40_000, 400)):
        with connect(running.port) as connection:
            with suppress(ConnectionError):
                connection.sendall(GET + b"X: " + b"a" * (size - len(GET) - 7) + b"\r\n\r\n")
            assert answer_on(connection).status == status
