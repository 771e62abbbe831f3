"""Requests whose head or framing is invalid or ambiguous, with each parser: refused, with at most one line of the log.

Two programs that disagree on where a request ends let a client smuggle a second one past a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.parsing import END, MOST_ENDS
from tests.support.app.exchanges import PHOTO, answer_on, connect, head
from tests.support.polling import wait_until
from tests.support.servers import PYTHON_ALONE, SERVE, Process, fcn_serve

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /segment HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CHUNKS = b"\r\n\r\n0\r\n\r\n"
NEXT = GET + b"\r\n"  # what a smuggled request would be
LAST = GET + b"Connection: close\r\n\r\n"

LENGTHS = [b"3\r\nContent-Length: 4", b"3, 4", b"+3", b"-3", b"0x3", b"3 3", b"", b"9" * 30, b"1_0", "\u0663".encode()]
ENCODINGS = [
    b"chunked, identity", b"identity", b"identity, chunked", b"gzip, chunked", b"xchunked", b"chunkedx", b"chunked,",
    b",chunked", b"chunked, chunked", b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: identity",
    b"identity\r\nTransfer-Encoding: chunked", b"chunked;q=1", b"\x0bchunked", b'"chunked"', b"",
    b"chunked\r\nContent-Length: 5",
]  # fmt: skip
CHUNKS = [
    b"+1\r\na", b"-1\r\na", b"0x1\r\na", b" 1\r\na", b"1_0\r\na", b"\r\na", b"g\r\na", b"1\na", b"1\r\nab", b"1\r\nabc",
    b"1;a\nb\r\na",
    b'1;a="\r\nb"\r\na', b"1 ;a=b\r\na", b"1;" + b"e" * (1 << 22) + b"\r\na",
]  # fmt: skip
TRAILERS = [b"bad trailer", b": x", b"X : y", b"X: \x00", b"X: " + b"b" * (1 << 22), b"\r\n".join([b"a: b"] * 600_000)]
FIELDS = [
    b"Content-Length : 3", b"Content-Length\t: 3", b"Transfer-Encoding : chunked", b"X Y: a", b": a", b"X(: a", b"X\xff: a",
    b'"X": a',
    b"XY", b"X\x00: a", b"X: a\x00b", b"X: a\rb", b"X: a\rY: b", b"Host: x", b"Host: y", b"X: " + b"a" * (1 << 20),
    b"X: " + b"a" * 100_000,
]  # fmt: skip
LINES = [
    b"G@T /health/live HTTP/1.1", b"G(T /health/live HTTP/1.1", b" /health/live HTTP/1.1", b" GET /health/live HTTP/1.1",
    b"GET /health/live HTTP/1.10", b"GET /health/live HTTP/01.1", b"GET /health/live http/1.1", b"GET /health/live HTTPS/1.1",
    b"GET /health/live HTTP/1,1", b"GET /health/live", b"GET /health/live HTTP/1.1 ", b"GET\t/health/live\tHTTP/1.1",
    b"GET /health/live x HTTP/1.1", b"GET /health/live\xff HTTP/1.1", b"GET /health/live\x00 HTTP/1.1", b"GET /?\xff HTTP/1.1",
    b"GET /health/live\x7f HTTP/1.1", b"GET  HTTP/1.1", b"GET /health/live HTTP/1.1\r",
    b"GET /health/live HTTP/1.1\r\n Host: x",
    b"DESCRIBE /health/live RTSP/1.0", b"SOURCE /health/live ICE/1.0", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b"\x16\x03\x01\x02\x00\x01",
]  # fmt: skip
REFUSED = {
    **{f"length {value[:30]!r}": POST + b"Content-Length: " + value + b"\r\n\r\nabc" + NEXT for value in LENGTHS},
    **{f"encoding {value!r}": POST + b"Transfer-Encoding: " + value + NO_CHUNKS + NEXT for value in ENCODINGS},
    **{f"chunk {chunk[:20]!r}": CHUNKED + chunk + b"\r\n0\r\n\r\n" + NEXT for chunk in CHUNKS},
    "chunks that end with line feeds": CHUNKED + b"1\na\n0\n\n" + NEXT,
    **{f"trailer {line[:20]!r}": CHUNKED + b"1\r\na\r\n0\r\n" + line + b"\r\n\r\n" + NEXT for line in TRAILERS},
    **{f"field {field[:20]!r}": GET + field + b"\r\n\r\n" for field in FIELDS},
    **{f"line {line[:40]!r}": line + b"\r\nHost: x\r\n\r\n" for line in LINES},
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "many fields": GET + b"a: b\r\n" * 175_000 + b"\r\n",
    "line feeds alone": b"\r\n" * (1 << 19),
    "no line": b"A" * (1 << 20),
}
TAKEN = {
    "plain": NEXT,
    "no host in 1.0": b"GET /health/live HTTP/1.0\r\n\r\n",
    "a field of 20 kB": GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "4,000 fields": GET + b"a: b\r\n" * 4000 + b"\r\n",
    "high bytes": GET + b"X: \xff\r\n\r\n",
    "a query of odd characters": b'GET /health/live?[x]{}|^`\\"<>%00%ff HTTP/1.1\r\nHost: x\r\n\r\n',
}
BODIES = {
    "length": b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO,
    "length with zeros": b"Content-Length: 000%d\r\n\r\n" % len(PHOTO) + PHOTO,
    "chunked": b"Transfer-Encoding: Chunked\r\n\r\n%x\r\n" % len(PHOTO) + PHOTO + b"\r\n0\r\n\r\n",
    "extensions": b'Transfer-Encoding: chunked\r\n\r\n%x;a=b;c="d;e"\r\n' % len(PHOTO) + PHOTO + b"\r\n0;f\r\n\r\n",
    "trailers": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PHOTO) + PHOTO + b"\r\n0\r\nX-Request-ID: trailer\r\n\r\n",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO,
}


@pytest.fixture(scope="module", params=[SERVE, PYTHON_ALONE], ids=["installed", "without httptools and uvloop"])
def running(request: pytest.FixtureRequest, narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with fcn_serve(narrow_file, tmp_path_factory.mktemp("log"), program=request.param) as it:
        wait_until(lambda: it.messages()[-1].startswith("open "))  # the last line of a start
        yield it


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


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_invalid_or_ambiguous_is_refused_and_its_connection_is_closed(running: Process, data: bytes) -> None:
    before = len(lines_of(running))
    statuses = exchange(running.port, data)  # none if the connection was reset, because more was sent than was read
    assert statuses in ([400], []) or (
        len(statuses) == 1 and data.startswith((b"SOURCE", b"DESCRIBE")) and statuses[0] in (404, 405)
    )
    assert len(lines_of(running)) <= before + 1
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("rest", [b"z\r\n", b"1\r\nab", b"0\r\nX: " + b"b" * 60_000], ids=["size", "end", "trailer"])
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


@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN)
def test_what_is_unusual_and_valid_is_answered(running: Process, data: bytes) -> None:
    with connect(running.port) as connection:
        connection.sendall(data)
        assert answer_on(connection).status == 200


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_ends_where_it_says_and_the_next_request_follows(running: Process, body: bytes, split: bool) -> None:
    data = POST + body + LAST
    pieces = [data[: len(POST)], data[len(POST) : -20], data[-20:]] if split else [data]
    assert exchange(running.port, *pieces) == [200, 200]


def test_requests_sent_at_once_are_answered_one_after_the_other(running: Process) -> None:
    data = 3 * (head() + PHOTO) + 200 * NEXT + head() + PHOTO + LAST + NEXT
    assert exchange(running.port, data) == [200] * 205


@pytest.mark.parametrize("running", [SERVE], ids=["installed"], indirect=True)
@pytest.mark.parametrize(("count", "statuses"), [(MOST_ENDS // 2, [415, 200]), (2 * MOST_ENDS, [])])
def test_a_body_in_chunks_that_seems_to_end_again_and_again_is_cut_off(
    running: Process, count: int, statuses: list[int]
) -> None:
    """The parser is called for each end that may be the message's."""
    body = END * count
    assert exchange(running.port, CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" + LAST) == statuses


@pytest.mark.parametrize("size", [32_000, 40_000, 60_000])
def test_a_head_may_have_32_kib_however_it_arrives(running: Process, size: int) -> None:
    data = GET + b"X: " + b"a" * (size - len(GET) - 7) + b"\r\n\r\n"
    with connect(running.port) as connection:
        with suppress(ConnectionError):
            connection.sendall(data)
        assert answer_on(connection).status == (200 if size < 32_768 else 400)
