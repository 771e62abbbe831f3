"""Many clients at once, and more than the service can take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, answer_on, assert_idle, connect, head, service_of
from tests.support.app.services import Serve, hold_model
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

QUERIES: list[dict[str, Any]] = [{}, {"format": "json"}, {"side": 300, "blend": "hann"}, {"format": "overlay"}]


def test_sixteen_clients_at_once_get_the_bytes_that_they_get_alone(client: TestClient) -> None:
    images = [encode(make_photo(40 + 13 * i, 200 - 9 * i, seed=i)) for i in range(16)]
    requests = [(image, QUERIES[i % len(QUERIES)]) for i, image in enumerate(images)] * 2
    with over_http(client) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S) as over:

        def ask(request: tuple[bytes, dict[str, Any]]) -> bytes:
            response = over.post("/segment", content=request[0], params=request[1])
            assert response.status_code == 200, response.text
            return response.content

        alone = [ask(request) for request in requests[:16]]
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(ask, requests))
    assert len(set(alone)) == 16
    assert together == alone * 2
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


def test_a_batch_is_counted_from_its_head(serve: Serve) -> None:
    with serve(max_queued_tiles=2) as client, over_http(client) as port:
        service = service_of(client)
        with connect(port) as connection:
            connection.sendall(head(1000, "Content-Type: multipart/form-data; boundary=x", path="/segment/batch"))
            wait_until(lambda: service.in_flight == 1)
            assert len(service.admission.places) == 1
            assert client.get("/health").json()["requests_in_flight"] == 1
        assert_idle(service)
