"""Requests that are refused after their body has arrived keep neither memory nor open files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient

from model.inference.processes.workers import Workers
from tests.support.app.exchanges import PHOTO, assert_idle, open_files, post, service_of
from tests.support.app.services import Serve
from tests.support.polling import wait_until

LARGE = PHOTO + bytes(2 << 20)  # larger than what is held in memory; bytes after a PNG's end are ignored


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    """Its one worker is there when it is ready: others would start beside the requests, each with files of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.serving.service.Workers", partial(Workers, 1))
        with serve() as running:
            yield running


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"format": "png", "classes": "circle"}, 422),
        ({"format": "color", "classes": "unicorn"}, 422),
        ({"model": "unicorn"}, 404),
        ({"side": "16000"}, 413),
        ({}, 200),
    ],
    ids=str,
)
def test_a_large_body_is_freed_however_the_request_ends(client: TestClient, query: dict[str, Any], status: int) -> None:
    answers = [post(client, LARGE, **query).status_code]
    before = open_files()
    answers += [post(client, LARGE, **query).status_code for _ in range(3)]
    wait_until(lambda: open_files() == before)
    assert_idle(service_of(client))
    assert len(set(answers)) == 1
    assert answers[0] == status or status in (404, 413)  # which of them refuses first is not this test's


@pytest.mark.parametrize("query", [{"classes": "circle"}, {"format": "color", "classes": "unicorn"}, {}], ids=str)
def test_the_files_of_a_batch_are_freed_however_each_image_ends(client: TestClient, query: dict[str, Any]) -> None:
    files = [("file", (f"{index}.png", LARGE)) for index in range(3)]
    assert client.post("/segment/batch", files=files, params=query).status_code in (200, 422)
    before = open_files()
    for _ in range(2):
        client.post("/segment/batch", files=files, params=query)
    wait_until(lambda: open_files() == before)
    assert_idle(service_of(client))
