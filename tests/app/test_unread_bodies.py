"""Answers that begin before the body has come: they close the connection and say so, and those after it keep it open."""

from __future__ import annotations

import pytest

from tests.support.app.exchanges import PHOTO, answer_on, connect, head, is_closed
from tests.support.servers import Process

FORM = "Content-Type: multipart/form-data"
REFUSED = {
    "POST /nothing": 404, "GET /static/nothing": 404, "POST /jobs": 404, "DELETE /jobs/1": 404, "GET /segment": 405,
    "PUT /health/live": 405, "POST /static/page.js": 405, "FOO /": 405, "OPTIONS /segment": 405, "POST /segment?mask=gif": 422,
    "POST /segment?x=1": 422, "POST /segment/batch": 400, "POST /segment#": 400, "GET /health/live": 200, "GET /": 200,
    "HEAD /health": 200, "GET /health/ready?model=x": 404,
}  # fmt: skip
HEADERS = {
    "Origin: https://other.example": 403, "Sec-Fetch-Site: cross-site": 403, "Content-Encoding: gzip": 415, FORM: 400,
}  # fmt: skip
HEADS = [
    *((head(9, path=request).replace(b"POST ", b"", 1), status) for request, status in REFUSED.items()),
    *((head(9, line), status) for line, status in HEADERS.items()),
    (head(1 << 40), 413),
    (head(9).replace(b"localhost", b"other.example"), 403),
]
ASKING = b"\r\nExpect: 100-continue\r\n"


@pytest.mark.parametrize(("head", "status"), HEADS, ids=lambda value: str(value)[2:40])
def test_an_answer_before_the_body_closes_the_connection_and_says_so(running: Process, head: bytes, status: int) -> None:
    """A client that waits for "100 Continue" may leave the body out, and takes the connection for a free one."""
    length = next(line for line in head.splitlines() if line.startswith(b"Content-Length"))
    for line in (length, b"Transfer-Encoding: chunked") if status != 413 else (length,):
        with connect(running.port) as connection:
            connection.sendall(head.replace(b"\r\n" + length + b"\r\n", b"\r\n" + line + ASKING))
            answer = answer_on(connection)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            while connection.recv(1 << 16):
                pass


def test_who_sends_the_body_all_the_same_gets_the_answer(running: Process) -> None:
    with connect(running.port) as connection:
        connection.sendall(head(1 << 20, path="/nothing") + bytes(1 << 20))
        answer = answer_on(connection)
        assert (answer.status, answer.headers["connection"], b"/docs" in answer.read()) == (404, "close", True)
        assert is_closed(connection)


def test_an_answer_after_the_body_or_without_one_keeps_the_connection(running: Process) -> None:
    with connect(running.port) as connection:
        for data, status in ((head() + PHOTO, 200), (head(0, path="/nothing"), 404), (head(4) + b"text", 415)):
            connection.sendall(data)
            answer = answer_on(connection)
            assert (answer.status, answer.headers["connection"], bool(answer.read())) == (status, None, True)
