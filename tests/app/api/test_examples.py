"""The examples of the API reference: what the service answers, word for word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api import errors
from app.api.errors import SEGMENT_PROBLEMS, Problem
from app.serving.service import LATE
from benchmarks.harness.image_files import bomb
from tests.support.app.exchanges import PHOTO, answer_on, connect, head, post, service_of
from tests.support.app.services import Serve, hold_model, occupy
from tests.support.polling import HANG_S
from tests.support.servers import over_http

KEY = {"X-API-Key": "abc"}


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(api_keys="abc") as running:
        yield running


def full(client: TestClient) -> Any:
    with occupy(service_of(client), 1024):
        return client.post("/segment", content=PHOTO, headers=KEY)


def repeat(client: TestClient) -> Any:
    tag = client.post("/segment", content=PHOTO, headers=KEY).headers["etag"]
    return client.post("/segment", content=PHOTO, headers=KEY | {"If-None-Match": tag})


ANSWERS: list[tuple[type[Problem], Callable[[TestClient], Any]]] = [
    (errors.BadRequest, lambda client: post(client, field="picture", headers=KEY)),
    (errors.EmptyBody, lambda client: client.post("/segment", content=b"", headers=KEY)),
    (errors.Unauthorized, lambda client: client.post("/segment", content=PHOTO)),
    (errors.NotFound, lambda client: client.post("/segments", content=PHOTO, headers=KEY)),
    (errors.MethodNotAllowed, lambda client: client.get("/segment", headers=KEY)),
    (errors.NotAcceptable, lambda client: client.post("/segment", content=PHOTO, headers=KEY | {"Accept": "text/csv"})),
    (errors.PreconditionFailed, repeat),
    (errors.TooLarge, lambda client: client.post("/segment", content=bomb(20_000), headers=KEY)),
    (errors.UnsupportedType, lambda client: client.post("/segment", content=b"text", headers=KEY)),
    (errors.Undecodable, lambda client: client.post("/segment", content=PHOTO[:-30], headers=KEY)),
    (errors.BadParameter, lambda client: client.post("/segment?mask=gif", content=PHOTO, headers=KEY)),
    (errors.Unavailable, full),
]


@pytest.mark.parametrize(("kind", "ask"), ANSWERS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_problem_s_example_is_what_is_answered(
    client: TestClient, kind: type[Problem], ask: Callable[[TestClient], Any]
) -> None:
    response = ask(client)
    tag = re.compile('"[0-9a-f]{32}"')
    assert response.status_code == kind.status
    assert tag.sub("tag", response.json()["detail"]) == tag.sub("tag", kind.example)


def test_the_examples_of_deadlines_are_what_is_answered(serve: Serve) -> None:
    with serve(request_timeout_s=0.2) as client, hold_model(service_of(client)):
        late = client.post("/segment", content=PHOTO).json()["detail"]
    assert late.replace("0.2 s", "60 s") in (errors.TimedOut.example, LATE)  # whichever sees it first
    with serve(upload_timeout_s=0.2) as client, over_http(client) as port, connect(port) as connection:
        connection.settimeout(HANG_S)
        connection.sendall(head(1000) + b"abc")
        slow = json.loads(answer_on(connection).read())["detail"]
    assert slow.replace("0.2 s", "30 s") == errors.UploadTooSlow.example


def test_every_problem_of_segment_is_compared() -> None:
    kinds = {kind for kind, _ in ANSWERS} | {errors.TimedOut, errors.UploadTooSlow}
    assert set(SEGMENT_PROBLEMS) <= kinds
