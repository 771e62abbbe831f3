"""Refusals over a real socket, before the body and before the ASGI stack."""

from __future__ import annotations

import gc
import http.client
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app import doorkeeper
from app.doorkeeper import SOON_S, Arrivals
from app.gate import LONGEST_HEAD, Gate, gate
from app.service import Service
from app.tickets import Ticket
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo, over_http

PHOTO = encoded(make_photo(20, 20))
TILES = 4
PAUSE_S = 1.0
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Gated(NamedTuple):
    """A service behind its gate, and what fills it."""

    client: TestClient
    port: int
    service: Service
    ticket: Ticket

    def free(self) -> None:
        assert self.service.engine
        self.service.engine.release(self.ticket)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=3) as connection:
            yield connection


@pytest.fixture
def full(serve: Serve) -> Iterator[Gated]:
    with serve(max_queued_tiles=TILES, cors_origins="https://example.org") as client:
        app = client.app
        assert isinstance(app, FastAPI)
        service: Service = app.state.service
        assert service.engine
        ticket = service.engine.admit(TILES, service.deadline())
        with over_http(app, gate(app.state.door, service.metrics)) as port:
            yield Gated(client, port, service, ticket)


def head(length: int, *lines: str) -> bytes:
    return "\r\n".join(["POST /segment HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]).encode()


def answer_on(connection: socket.socket) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response


def statuses_on(connection: socket.socket) -> list[int]:
    """Of all answers until none comes for a while."""
    received = b""
    connection.settimeout(PAUSE_S)
    with suppress(TimeoutError):
        while more := connection.recv(65536):
            received += more
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]


def test_a_refusal_at_the_gate_is_like_one_of_the_doorkeeper(full: Gated, caplog: pytest.LogCaptureFixture) -> None:
    expected = full.client.post("/segment", content=PHOTO, headers={"X-Request-ID": "mine"})
    caplog.clear()
    with full.connected() as connection, caplog.at_level(logging.INFO, "segment"):
        connection.sendall(head(len(PHOTO), "X-Request-ID: mine") + PHOTO)
        response = answer_on(connection)
        body = response.read()
        connection.sendall(LIVE)  # answered once the refusal is accounted for
        assert answer_on(connection).status == 200
    assert (response.status, body) == (503, expected.content)
    del expected.headers["vary"]  # for caches, which keep no refusals
    assert dict(expected.headers).items() <= {name.lower(): value for name, value in response.getheaders()}.items()
    assert 'segment_requests_total{method="POST",route="/segment",status="503"} 2.0' in full.client.get("/metrics").text
    told = next(record.__dict__["fields"] for record in caplog.records if record.message == "request")
    assert (told["request_id"], told["status"], told["path"]) == ("mine", 503, "/segment")
    assert told["detail"] == expected.json()["detail"]


def test_a_refusal_waits_for_no_body_which_is_dropped_when_it_comes(full: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "PATIENCE_S", 30)
    with full.connected() as connection:
        connection.sendall(head(300_000))
        assert answer_on(connection).read().startswith(b'{"type"')
        full.free()
        connection.sendall(bytes(300_000) + head(len(PHOTO)) + PHOTO)
        response = answer_on(connection)
        assert (response.status, response.read()[:4]) == (200, b"\x89PNG")


def test_a_refused_body_is_passed_over_unparsed(full: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(Gate, "on_body", lambda _, body: parsed.append(body))
    with full.connected() as connection:
        for length in (300_000, 0, 1):
            connection.sendall(head(length) + bytes(length))
            assert answer_on(connection).read().startswith(b'{"type"')
    assert not parsed


def test_a_refused_body_is_no_request(full: Gated) -> None:
    body = LIVE + head(100) + bytes(50)
    with full.connected() as connection:
        connection.sendall(head(len(body)) + body + LIVE)
        assert statuses_on(connection) == [503, 200]


@pytest.mark.parametrize("before", [1, 2, 40])
@pytest.mark.parametrize("lines", [(), (f"X-Filler: {2 * LONGEST_HEAD * 'x'}",)])
def test_however_the_head_of_a_refused_body_comes_the_next_request_is_answered(
    full: Gated, before: int, lines: tuple[str, ...]
) -> None:
    whole, body = head(300, *lines), b"\r\n\r\n" + bytes(296)
    with full.connected() as connection:
        connection.sendall(whole[:-before])
        full.client.get("/health/live")
        connection.sendall(whole[-before:] + body[:100])
        assert statuses_on(connection) == [503]
        connection.sendall(body[100:] + LIVE)
        assert statuses_on(connection) == [200]
        connection.sendall(whole + body + LIVE)
        assert statuses_on(connection) == [503, 200]


def test_a_refused_body_in_chunks_is_no_request(full: Gated) -> None:
    body = f"{len(LIVE):x}\r\n{LIVE.decode()}\r\n0\r\n\r\n".encode()
    with full.connected() as connection:
        connection.sendall(b"POST /segment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + LIVE)
        assert statuses_on(connection) == [503, 200]


@pytest.mark.parametrize(("path", "status"), [("/segment", 503), ("/nowhere", 404)])
def test_a_connection_on_which_a_body_came_too_late_is_closed_when_idle(full: Gated, path: str, status: int) -> None:
    with full.connected() as connection:
        connection.settimeout(20)
        connection.sendall(head(100).replace(b"/segment", path.encode()))
        response = answer_on(connection)
        assert (response.status, bool(response.read())) == (status, True)
        connection.sendall(bytes(100))
        assert connection.recv(1) == b""


def test_a_page_of_another_origin_may_read_the_refusal(full: Gated) -> None:
    with full.connected() as connection:
        connection.sendall(head(len(PHOTO), "Origin: https://example.org") + PHOTO)
        response = answer_on(connection)
        assert response.status == 503
        assert response.headers["access-control-allow-origin"] == "https://example.org"


def test_a_client_that_asks_before_it_sends_gets_the_refusal_alone(full: Gated) -> None:
    with full.connected() as connection:
        connection.sendall(head(len(PHOTO), "Expect: 100-continue"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")


def test_a_client_that_asks_before_it_sends_is_told_to_send(full: Gated) -> None:
    full.free()
    with full.connected() as connection:
        connection.sendall(head(len(PHOTO), "Expect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PHOTO)
        assert answer_on(connection).status == 200


def test_a_client_that_wants_no_more_is_let_go(full: Gated) -> None:
    with full.connected() as connection:
        connection.sendall(head(0, "Connection: close"))
        response = answer_on(connection)
        assert (response.status, response.headers["connection"]) == (503, "close")
        assert response.read()
        assert connection.recv(1) == b""


def test_a_client_that_reads_no_answers_is_not_read_on(full: Gated) -> None:
    requests = head(0, f"X-Filler: {1000 * 'x'}") * 1000

    def send_without_reading() -> None:
        for _ in range(60):
            connection.sendall(requests)

    with full.connected() as connection, pytest.raises(TimeoutError):
        send_without_reading()


def test_requests_that_come_at_once_are_answered_in_turn(full: Gated) -> None:
    with full.connected() as connection:
        connection.sendall(head(len(PHOTO)) + PHOTO + LIVE + head(len(PHOTO)) + PHOTO)
        assert statuses_on(connection) == [503, 200, 503]


def test_head_is_answered_without_a_body(full: Gated) -> None:
    with full.connected() as connection:
        connection.sendall(LIVE.replace(b"GET", b"HEAD"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def cycles() -> list[RequestResponseCycle]:
    return [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]


@pytest.mark.parametrize("gated", [True, False])
def test_a_client_that_stays_after_a_refusal_leaves_no_body_in_memory(full: Gated, *, gated: bool) -> None:
    with ExitStack() as stack:
        port = full.port if gated else stack.enter_context(over_http(full.client.app))
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            stack.callback(connection.close)
            connection.request("POST", "/segment", bytes(300_000))
            assert connection.getresponse().read().startswith(b'{"type"')
        gc.collect()
        assert not cycles() if gated else len(cycles()) >= 3  # at the gate, nothing is made that a body could stay in
        assert sum(len(cycle.body) for cycle in cycles()) == 0


def test_a_client_that_goes_after_a_refusal_leaves_nothing_for_the_collector(full: Gated) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with full.connected() as connection:
                connection.sendall(head(0, "Connection: close"))
                while connection.recv(65536):
                    pass
        full.client.get("/health/live")
        assert len(cycles()) <= 1  # the last connection may still be closing
        assert sum(isinstance(each, Gate) for each in gc.get_objects()) <= 1
    finally:
        gc.enable()


def comes_to(count: int, arrivals: Arrivals) -> bool:
    """Before an arrival would count no more for its age."""
    end = time.monotonic() + SOON_S / 2
    while arrivals.soon != count and time.monotonic() < end:
        time.sleep(0.01)
    return arrivals.soon == count


def test_a_client_that_goes_while_it_sends_is_not_waited_for(full: Gated) -> None:
    full.free()
    with full.connected() as connection:
        connection.sendall(head(len(PHOTO)) + PHOTO[:10])
        assert comes_to(1, full.service.arrivals)
    assert comes_to(0, full.service.arrivals)
