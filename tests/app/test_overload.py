"""Many clients at once, and more than the service can take."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.app.exchanges import PHOTO, answer_on, assert_idle, connect, head, post, service_of
from tests.support.app.services import Serve, hold_model
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

QUERIES: list[dict[str, Any]] = [{}, {"format": "json"}, {"side": 300, "blend": "hann"}, {"format": "overlay"}]


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


def test_a_client_that_goes_leaves_no_tiles_and_no_reservation(serve: Serve) -> None:
    with serve() as client, over_http(client) as port:
        service = service_of(client)
        with hold_model(service) as hold:
            with connect(port) as connection:
                connection.sendall(head(path="/segment?format=json") + PHOTO)
                assert hold.entry.wait(HANG_S)
            wait_until(lambda: service.in_flight == 0)
            assert post(client, b"no image").status_code == 415
        assert_idle(service)
