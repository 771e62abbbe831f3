"""A real service on the narrow network, in process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.serving import registry
from app.serving.service import Service
from app.settings import Settings
from model.inference.loading import load_runtime
from tests.support.app.exchanges import service_of
from tests.support.app.services import Serve
from tests.support.networks import loading_once
from tests.support.polling import wait_until
from tests.support.servers import Process, fcn_serve


def is_ready(client: TestClient) -> bool:
    """Fails at once where the service cannot become ready."""
    assert client.get("/health/live").status_code == 200, client.get("/health").text
    return client.get("/health/ready").status_code == 200


@pytest.fixture(scope="session")
def serve(narrow_file: Path) -> Serve:
    """Starts a service with these settings; tiles of 96 in float32 on OpenVINO unless told otherwise.

    Services of the same settings start with the same network in memory.
    """
    load = loading_once()

    @contextmanager
    def start(*, reads_jobs: bool = True, **changes: Any) -> Iterator[TestClient]:
        common = {"device": "cpu", "runtime": "openvino", "precision": "float32", "tile": "96", "threads": 1}
        settings = Settings(**({"weights": str(narrow_file)} | common | changes))
        app = create_app(settings)
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as patch:  # a reload loads anew
                if registry.load_runtime is load_runtime:  # else a test has changed it
                    patch.setattr(registry, "load_runtime", load)
                client = stack.enter_context(TestClient(app, "http://localhost", raise_server_exceptions=False))
                wait_until(lambda: is_ready(client), lambda: client.get("/health").text)
                if reads_jobs and (jobs := service_of(client).jobs):
                    wait_until(lambda: jobs.is_loaded)
            yield client

    return start


@pytest.fixture(scope="session")
def client_of(serve: Serve) -> Iterator[Callable[[str], TestClient]]:
    """The service on a runtime, which is started when it is first asked for."""
    with ExitStack() as services:
        yield cache(lambda runtime: services.enter_context(serve(runtime=runtime)))


@pytest.fixture
def client(request: pytest.FixtureRequest, client_of: Callable[[str], TestClient]) -> TestClient:
    """A service on OpenVINO, or on the runtime of `ON_EACH_RUNTIME`: what tests of the HTTP contract ask."""
    return client_of(getattr(request, "param", "openvino"))


@pytest.fixture(scope="session")
def running(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A process of the service, which tests only ask."""
    with fcn_serve(narrow_file, tmp_path_factory.mktemp("running")) as it:
        wait_until(lambda: it.messages()[-1].startswith("open "))  # the last line of a start
        yield it


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one worker is there when the service is ready. Others would start beside the requests, each with files of its own."""
    monkeypatch.setattr("app.serving.service.worker_count", lambda: 1)


@pytest.fixture
def service(client: TestClient) -> Service:
    return service_of(client)
