"""A real service on the narrow network, in process and over a real socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.service import Service
from app.settings import Settings

Serve = Callable[..., AbstractContextManager[TestClient]]


def wait_until_ready(client: TestClient, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while client.get("/health/ready").status_code != 200:
        assert client.get("/health/live").status_code == 200, client.get("/health").json()
        assert time.monotonic() < end, client.get("/health").json()
        time.sleep(0.02)


@pytest.fixture(scope="session")
def serve(narrow_file: Path) -> Serve:
    """Starts a service with these settings; tiles of 96 and float32 unless told otherwise."""

    @contextmanager
    def start(**changes: Any) -> Iterator[TestClient]:
        values = {"weights": str(narrow_file), "device": "cpu", "dtype": "float32", "tile": "96", "threads": 1} | changes
        with TestClient(create_app(Settings(_env_file=None, **values)), raise_server_exceptions=False) as client:
            wait_until_ready(client)
            yield client

    return start


@pytest.fixture(scope="session")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve() as running:
        yield running


@pytest.fixture
def service(client: TestClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found
