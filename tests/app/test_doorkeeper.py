"""Bodies on their way, and refusals at the door."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from app import doorkeeper, routes
from app.doorkeeper import SOON_S, Arrivals, Door, Doorkeeper
from app.engine_errors import QueueFull
from app.jobs import Job
from app.service import Service
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo


def posted() -> Scope:
    return {"type": "http", "method": "POST", "path": "/segment", "headers": [], "state": {}}


def test_arrivals_count_while_they_are_new_and_not_done() -> None:
    now = [0.0]
    arrivals, here = Arrivals(lambda: now[0]), posted()
    arrivals.begin(posted())
    now[0] = SOON_S / 2
    arrivals.begin(here)
    assert arrivals.soon == 2
    arrivals.end(here)
    arrivals.end(here)
    assert arrivals.soon == 1
    now[0] = SOON_S
    assert arrivals.soon == 0


def test_of_requests_that_come_at_once_no_more_are_let_in_than_there_is_room_for() -> None:
    arrivals, asked = Arrivals(), 0

    def ask() -> QueueFull | None:
        nonlocal asked
        asked += 1
        return QueueFull("full", retry_after=1) if arrivals.soon >= 2 else None

    door = Door(routes.router.routes[0], "/segment", ask, arrivals)
    first, second, third = posted(), posted(), posted()
    assert [door.refusal(scope) is None for scope in (first, second, third)] == [True, True, False]
    assert (door.refusal(first), asked) == (None, 3)  # at the gate, then in the stack
    arrivals.end(second)
    assert door.refusal(third) is None
    for scope in (first, second, third):
        arrivals.end(scope)
    assert arrivals.soon == 0


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/segment", {"X-API-Key": "secret"}, encoded(make_photo(20, 20)), 200),
        ("/segment", {"X-API-Key": "wrong"}, b"", 401),
        ("/segment", {"X-API-Key": "secret"}, b"", 400),
        ("/segment?side=7", {"X-API-Key": "secret"}, b"", 422),
        ("/no/segment", {}, b"", 404),
    ],
)
def test_whatever_becomes_of_a_request_its_arrival_ends(
    serve: Serve, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    with serve(api_keys="secret") as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert client.post(path, content=body, headers=headers).status_code == status
        assert service.arrivals.soon == 0


def test_an_image_that_is_here_is_not_on_its_way(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_job(service: Service, *rest: Any) -> Job:
        found.append(service.arrivals.soon)
        return made(service, *rest)

    found, made = [], routes.make_job
    monkeypatch.setattr(routes, "make_job", make_job)
    with serve() as client:
        assert client.post("/segment", content=encoded(make_photo(20, 20))).status_code == 200
    assert found == [0]


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
    keeper = Doorkeeper(FastAPI(), Door(routes.router.routes[0], "/segment", full, Arrivals()))
    asyncio.run(keeper(posted() | {"headers": headers}, receive, send))
    return passed


ANSWER = ["http.response.start", "http.response.body"]


def test_a_refusal_takes_what_has_come_of_the_body() -> None:
    assert refused([{"type": "http.request", "body": b"x", "more_body": True}], []) == ["asked for the body", *ANSWER]


def test_a_client_that_asks_before_it_sends_is_not_told_to_send() -> None:
    assert refused([], [(b"expect", b"100-continue")]) == ANSWER


def test_a_body_that_does_not_come_does_not_keep_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "PATIENCE_S", 0.01)
    assert refused([], []) == ["asked for the body", *ANSWER]
