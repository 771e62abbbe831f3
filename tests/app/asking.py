"""How the tests of the service ask it, and what they look for in an answer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from tests.conftest import Pixels, encoded, make_photo

PHOTO = encoded(make_photo(90, 130))


def post(
    client: TestClient, data: bytes = PHOTO, *, field: str = "file", headers: dict[str, str] | None = None, **query: Any
) -> Any:
    return client.post("/segment", files={field: ("photo", data)}, params=query, headers=headers or {})


def pixels(body: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(body)))


def assert_problem(response: Any, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in problem["detail"]
