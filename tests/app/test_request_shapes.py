"""Requests whose head or framing is invalid or ambiguous: refused, with at most one line of the log.

Two programs that disagree on where a request ends let a client smuggle a second one past a proxy.
"""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.malformed import CHUNKED, GET, LAST, NEXT, OTHERS, POST, REFUSED, ROUTES, TAKEN, bodies, garbage
from tests.support.app.exchanges import PHOTO, answer_on, connect, head
from tests.support.images import encode
from tests.support.polling import wait_until
from tests.support.servers import Process, fcn_serve
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


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


TARGETS = {
    "http://127.0.0.1/health": 200,
    "HTTP://service.example:8000/health?x=1": 200,
    "https://service.example/health/live": 200,
    "http://service.example": 200,
    "http://service.example?x=1": 200,
    "http://service.example/nothing": 404,
    "http://service.example/http://service.example/health": 404,
    "http://[::1]:8000/health": 200,
    "http://service.example:/health": 200,
    "http:///health": 400,
    "http://service.example:99999/health": 400,
    "http://user@service.example/health": 400,
    "ftp://service.example/health": 400,
    "*": 404,
}


def test_a_target_in_absolute_form_is_its_path(running: Process) -> None:
    for target, status in TARGETS.items():
        with connect(running.port) as connection:
            connection.sendall(get(target))
            assert answer_on(connection).status == status, target


def test_an_image_for_a_target_in_absolute_form_is_segmented(running: Process) -> None:
    with connect(running.port) as connection:
        connection.sendall(head(path="http://service.example/segment?format=png") + PHOTO)
        answer = answer_on(connection)
        assert (answer.status, answer.read()) == (200, running.post().content)


@pytest.mark.long
def test_under_a_path_a_target_in_absolute_form_is_below_it(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, root_path="seg/") as it, connect(it.port) as connection:
        connection.sendall(get("http://service.example/health"))
        assert answer_on(connection).status == 200


def test_requests_are_answered_to_a_client_that_closes_its_side(running: Process) -> None:
    with connect(running.port) as connection:
        connection.sendall(get("/info") + get("/health") + get("/metrics", "Connection: close"))
        connection.shutdown(socket.SHUT_WR)
        answers = b""
        while piece := connection.recv(1 << 16):
            answers += piece
        assert answers.count(b"HTTP/1.1 200 OK") == 3


def test_the_end_of_an_image_s_client_is_an_end(running: Process) -> None:
    """As `docs/operate.md` says: it cannot be told from a client that has gone.

    The cork keeps the last bytes back until the end goes with them, and twelve megapixels take the service long after both.
    """
    photo = encode(np.zeros((3000, 4000, 3), np.uint8))
    with connect(running.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(head(len(photo)) + photo)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert running.post().status_code == 200
