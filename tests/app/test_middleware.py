"""Request ids, log and metrics, unexpected errors, odd addresses, answers that close the connection, and a burst."""

from __future__ import annotations

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from fastapi.testclient import TestClient

from app import connections
from app.api import batch
from tests.support.app.exchanges import (
    PHOTO,
    answer_on,
    assert_idle,
    assert_problem,
    connect,
    count_of,
    head,
    post,
    service_of,
)
from tests.support.app.services import Serve, hold_model, occupy
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def small(serve: Serve) -> Iterator[tuple[TestClient, int]]:
    """A service in process that takes two requests and a megabyte, and the port where it is served as well."""
    with serve(max_queued_tiles=2, max_upload_mb=1) as client, over_http(client) as port:
        yield client, port


@contextmanager
def full(client: TestClient) -> Iterator[None]:
    service = service_of(client)
    assert_idle(service)  # what the last request had is free
    with occupy(service, 2):
        yield


def test_a_sane_request_id_is_echoed_and_another_replaced(client: TestClient) -> None:
    assert post(client, headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 129, "<script>", ""):
        own_id = client.get("/nothing", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert own_id != bad
        assert re.fullmatch("[0-9a-f]{32}", own_id)


def test_the_log_tells_of_a_request_and_its_stages(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "segment"):
        post(client, headers={"X-Request-ID": "mine"}, format="json")
        post(client, b"no image")
    good, bad = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
    expected = {"request_id": "mine", "method": "POST", "path": "/segment", "status": 200, "size": "130x90", "format": "json"}
    assert expected.items() <= good.items()
    assert {"ms", "decode", "queue", "inference", "encode"} <= set(good)
    assert (bad["status"], "none of PNG" in bad["detail"]) == (415, True)


def test_an_unexpected_error_is_a_500_that_is_logged_and_counted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with serve() as client:
        monkeypatch.setattr(service_of(client).registry.get().scheduler, "submit", fails)
        response = post(client, headers={"X-Request-ID": "mine"})
        assert_problem(response, 500, "the log has the request's id")
        assert "a bug" not in response.text
        assert (count_of(client, 500), count_of(client, 0)) == (1, 0)
        assert_idle(service_of(client))
        monkeypatch.undo()
        assert post(client).status_code == 200
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.fields == {"request_id": "mine", "client": "testclient"}  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_an_error_after_the_answer_began_closes_the_connection_and_is_logged_with_its_request(
    small: tuple[TestClient, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks_off(*_: object) -> AsyncIterator[bytes]:
        yield b"PK"
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(batch, "pieces", breaks_off)
    client, port = small
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + PHOTO + b"\r\n--x--\r\n"
    before = count_of(client, 200, "/segment/batch")
    with connect(port) as connection:
        lines = ("Content-Type: multipart/form-data; boundary=x", "X-Request-ID: mine")
        connection.sendall(head(len(body), *lines, path="/segment/batch?format=png") + body)
        answer = answer_on(connection)
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as error_info:
            answer.read()
        assert error_info.value.partial == b"PK"
        assert connection.recv(1) == b""
    (record,) = [record for record in caplog.records if record.getMessage() == "unexpected error"]
    assert record.fields == {"request_id": "mine", "client": "127.0.0.1"}  # type: ignore[attr-defined]
    wait_until(lambda: count_of(client, 200, "/segment/batch") == before + 1)
    assert_idle(service_of(client))


def test_refusals_and_what_is_unknown_are_counted_under_few_labels(serve: Serve) -> None:
    with serve() as client:
        client.post("/segment?side=31", content=PHOTO)
        for path in ("/nothing", "/nothing/else"):
            client.get(path)
        client.request("FOO", "/segment")
        service_of(client).draining = True
        client.get("/health/ready")
        assert count_of(client, 422) == 1
        assert count_of(client, 404, "other", "GET") == 2
        assert count_of(client, 405, method="other") + count_of(client, 405, "other", "other") == 1
        assert count_of(client, 503, "/health/ready", "GET") >= 1
        assert "FOO" not in client.get("/metrics").text


TARGETS = [b"http://x:99999/segment", b"/" + b"a" * 65_536 + b"/segment", b"//x:99999/segment", b"/segment/", b"/SEGMENT"]


def test_an_odd_address_gets_no_reservation_and_others_are_served(small: tuple[TestClient, int]) -> None:
    client, port = small
    for target in TARGETS:
        with connect(port) as connection:
            with suppress(ConnectionError):  # a head that is too long is answered before all of it has come
                connection.sendall(head().replace(b"/segment", target, 1) + PHOTO)
            assert answer_on(connection).status in (307, 400, 404)
    assert_idle(service_of(client))
    with connect(port) as connection:
        connection.sendall(head() + PHOTO)
        assert answer_on(connection).status == 200


@pytest.mark.parametrize(("path", "length"), [("/segment", len(PHOTO)), ("/segment/batch", 900_000)])
def test_a_full_service_refuses_by_the_head_alone(
    small: tuple[TestClient, int], path: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_S", 2 * HANG_S)
    client, port = small
    with full(client), connect(port) as connection:
        before = count_of(client, 503, path)
        connection.sendall(head(length, path=path))
        response = answer_on(connection)
        assert (response.status, response.headers["connection"]) == (503, "close")
        assert int(response.headers["retry-after"]) >= 1
        assert b'"detail":' in response.read()
        connection.sendall(bytes(length) + LIVE)
        assert connection.recv(1) == b""
        assert service_of(client).in_flight == 0
        wait_until(lambda: count_of(client, 503, path) == before + 1)
    assert_idle(service_of(client))


def test_the_body_of_a_refusal_is_discarded_for_a_while_alone(
    small: tuple[TestClient, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_S", 0.2)
    client, port = small
    with full(client), connect(port) as connection:
        start = time.monotonic()
        connection.sendall(head(900_000))
        assert answer_on(connection).read()
        assert connection.recv(1) == b""
        assert time.monotonic() - start >= 0.2


def test_a_client_that_asks_before_it_sends_gets_the_refusal_alone_and_at_once(
    small: tuple[TestClient, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_S", 2 * HANG_S)
    client, port = small
    with full(client), connect(port) as connection:
        connection.sendall(head(900_000, "Expect: 100-continue"))
        response = answer_on(connection)
        assert (response.status, bool(response.read()), connection.recv(1)) == (503, True, b"")
    with connect(port) as connection:
        connection.sendall(head(len(PHOTO), "Expect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PHOTO)
        assert answer_on(connection).status == 200


def test_who_sends_on_sees_the_answer_that_closes_the_connection(
    small: tuple[TestClient, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_S", 2 * HANG_S)  # a busy machine may send the bytes for longer than a second
    client, port = small

    def refusal() -> int:
        with pytest.raises(urllib.error.HTTPError) as error_info:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/segment", bytes(20_000_000), HANG_S)
        error_info.value.close()
        return int(error_info.value.status)

    with full(client):
        assert refusal() == 503
    assert refusal() == 413
    assert_idle(service_of(client))


def test_a_client_that_goes_while_it_sends_is_counted_as_gone_and_leaves_nothing(small: tuple[TestClient, int]) -> None:
    client, port = small
    before = count_of(client, 499)
    with connect(port) as connection:
        connection.sendall(head() + PHOTO[:100])
        wait_until(lambda: service_of(client).in_flight == 1)
    wait_until(lambda: count_of(client, 499) == before + 1)
    assert_idle(service_of(client))


def test_a_burst_of_heads_does_not_all_pass_and_those_that_do_are_answered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.body.UPLOAD_GRACE_S", 1e6)
    monkeypatch.setattr("app.connections.DISCARD_S", HANG_S)
    with serve(max_queued_tiles=8) as client, over_http(client) as port, ExitStack() as stack:
        service = service_of(client)
        connections = [stack.enter_context(connect(port)) for _ in range(20)]
        for connection in connections:
            connection.sendall(head())
        wait_until(lambda: service.in_flight == 20)
        with hold_model(service):
            for connection in connections:
                connection.sendall(PHOTO)
            wait_until(lambda: service.in_flight <= 8)
        answers = [answer_on(connection) for connection in connections]
        statuses = [answer.status for answer in answers]
        assert statuses.count(503) >= 12
        assert set(statuses) == {200, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status == 503)
        assert_idle(service)
