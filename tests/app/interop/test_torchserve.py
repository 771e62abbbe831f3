"""The contract of TorchServe's clients, and of those of MMS and DJL Serving: predictions, and whether it is healthy."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, connect, count_of, head, service_of
from tests.support.app.services import Serve, module_client, occupy
from tests.support.servers import over_http

client = module_client()
PATH = "/predictions/narrow"
IN_FIELD: dict[str, Any] = {"files": {"data": ("photo", PHOTO)}}


def test_an_image_is_answered_as_by_segment(client: TestClient) -> None:
    expected = client.post("/segment?format=json", content=PHOTO)
    for body in ({"content": PHOTO}, IN_FIELD, {"files": {"body": ("photo", PHOTO)}}):
        for path in (PATH, f"{PATH}/1.0"):
            for method in ("POST", "PUT"):  # `curl -T`, as TorchServe's pages have it, is a PUT
                answer = client.request(method, f"{path}?format=json", **body)
                assert (answer.content, answer.headers["etag"]) == (expected.content, expected.headers["etag"])
    assert_problem(client.post("/segment", **IN_FIELD), 400, "`file`", "data")


def test_problems_are_those_of_segment_and_of_the_path(client: TestClient) -> None:
    problems: list[tuple[str, dict[str, Any], int, str]] = [
        ("/predictions/other", {"content": b"x"}, 404, "must be one of"), (f"{PATH}/2", {"content": PHOTO}, 404, "1.0 alone"),
        (f"{PATH}?model=narrow", {"content": PHOTO}, 422, "the query has it too"), (PATH, {"content": b"text"}, 415, "text"),
        (PATH, IN_FIELD | {"data": {"model": "narrow"}}, 422, "form field model"),
        (PATH, {"files": {"file": ("photo", PHOTO)}}, 400, "`data` (or `body`)"),
    ]  # fmt: skip
    for path, body, status, words in problems:
        assert_problem(client.post(path, **body), status, words)
        assert count_of(client, status, "/predictions/{model}")  # one label for all names
    assert_idle(service_of(client))


def test_room_and_keys_are_those_of_segment(serve: Serve) -> None:
    with serve(api_keys="secret", max_queued_tiles=2) as client, over_http(client) as port:
        for method in ("POST", "PUT"):
            assert_problem(client.request(method, PATH, content=PHOTO), 401)
            assert_problem(client.request(method, PATH, content=PHOTO, headers={"Origin": "https://other.example"}), 403)
            with occupy(service_of(client), 2), connect(port) as connection:
                connection.sendall(head(1_000_000, path=f"{PATH}/1.0").replace(b"POST", method.encode(), 1))
                assert b" 503 " in connection.recv(100)  # before a byte of the body


def test_it_is_healthy_while_it_is_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/ping").json() == {"status": "Healthy"}
    monkeypatch.setattr(service_of(client), "ending", True)
    assert_problem(client.get("/ping"), 503, "draining")
