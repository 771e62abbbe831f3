"""Bodies on their way, and refusals at the door."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from starlette.types import Message

from app import doorkeeper, routes
from app.doorkeeper import SOON_S, Arrivals, Door, Doorkeeper
from app.engine_errors import QueueFull
from app.service import Service
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo


def test_arrivals_count_while_they_are_new_and_not_done() -> None:
    now = [0.0]
    arrivals = Arrivals(lambda: now[0])
    with ExitStack() as stack:
        stack.enter_context(arrivals.reading())
        now[0] = SOON_S / 2
        with arrivals.reading():
            assert arrivals.soon == 2
        assert arrivals.soon == 1
        now[0] = SOON_S
        assert arrivals.soon == 0
    assert arrivals.soon == 0


def test_a_refusal_at_the_door_is_like_any_other(serve: Serve) -> None:
    with serve(max_queued_tiles=4, cors_origins="https://example.org", api_keys="secret") as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        ticket = service.engine.admit(4, service.deadline())
        headers = {"Origin": "https://example.org", "X-Request-ID": "mine", "X-API-Key": "secret"}
        response = client.post("/segment", content=b"no image", headers=headers)
        assert (response.status_code, response.headers["x-request-id"]) == (503, "mine")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["request_id"] == "mine"
        assert 'segment_requests_total{method="POST",route="/segment",status="503"} 1.0' in client.get("/metrics").text
        service.engine.release(ticket)
        photo = encoded(make_photo(20, 20))
        assert client.post("/segment", content=photo, headers=headers).status_code == 200


def refused(body: list[Message], headers: list[tuple[bytes, bytes]]) -> list[str]:
    """What passes between the server and the doorkeeper while it refuses: a body that does not come is waited for."""

    def full() -> None:
        return QueueFull("full", retry_after=1)

    async def receive() -> Message:
        passed.append("asked for the body")
        if not body:
            await asyncio.Event().wait()
        return body.pop()

    async def send(message: Message) -> None:
        passed.append(message["type"])

    passed: list[str] = []
    keeper = Doorkeeper(FastAPI(), Door(routes.router.routes[0], "/segment", full))
    scope = {"type": "http", "method": "POST", "path": "/segment", "headers": headers}
    asyncio.run(keeper(scope, receive, send))
    return passed


ANSWER = ["http.response.start", "http.response.body"]


def test_a_refusal_takes_what_has_come_of_the_body() -> None:
    assert refused([{"type": "http.request", "body": b"x", "more_body": True}], []) == ["asked for the body", *ANSWER]


def test_a_client_that_asks_before_it_sends_is_not_told_to_send() -> None:
    assert refused([], [(b"expect", b"100-continue")]) == ANSWER


def test_a_body_that_does_not_come_does_not_keep_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "PATIENCE_S", 0.01)
    assert refused([], []) == ["asked for the body", *ANSWER]
