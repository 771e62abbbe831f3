"""The whole service on a thread of this process, in front of a stand-in for the network."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest

from app.main import create_app
from app.server import serve
from app.serving.service import Service
from app.serving.watchdog import Watchdog
from app.settings import Settings
from benchmarks.harness.serving import free_port
from tests.support.images import encode
from tests.support.model.doubles import FirstChannel
from tests.support.polling import HANG_S, wait_until

GOOD = 3  # the value of a tile that does not fail


def photo(value: int) -> bytes:
    return encode(np.full((32, 32, 3), value, np.uint8))


class Served:
    """`serve` on a thread, in front of this runtime; whoever would end the process tells `exit_statuses`."""

    def __init__(self, runtime: FirstChannel, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        monkeypatch.setattr("app.serving.registry.load_runtime", lambda *_: runtime)
        common: dict[str, Any] = {"device": "cpu", "tile": "96", "port": free_port(), "threads": 1, "drain_s": HANG_S}
        settings = Settings(**(common | changes))
        self.app = create_app(settings)
        self.service: Service = self.app.state.service
        self.port = settings.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.exit_statuses: list[int] = []

    def post(self, value: int) -> httpx.Response:
        return httpx.post(f"{self.url}/segment", content=photo(value), timeout=HANG_S)


@contextmanager
def serve_on_thread(
    runtime: FirstChannel, monkeypatch: pytest.MonkeyPatch, stall_s: float = 30, **settings: Any
) -> Iterator[tuple[Served, Future[int]]]:
    """It, ready, and the exit status to come. Its watchdog looks every 20 ms; with a short stall not at the event loop, which
    a busy machine may hold up as long."""
    monkeypatch.setattr("app.serving.service.Watchdog", partial(Watchdog, interval=0.02))
    it = Served(runtime, monkeypatch, **settings)
    service = it.service
    with ThreadPoolExecutor() as pool:
        status = pool.submit(serve, it.app, it.exit_statuses.append)
        try:
            wait_until(lambda: service.not_ready is None)
            service.watchdog.later = service.watchdog.later if stall_s >= 30 else None
            service.watchdog.stall_s = stall_s
            yield it, status
        finally:
            runtime.hold.open()
            if not status.done():
                service.on_failure()
            status.result(HANG_S)
