"""Servers of the service, in a process of their own or on a thread of this one."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import httpx
import psutil
import uvicorn
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from benchmarks.harness.serving import SERVE, Server, service
from tests.support.app.exchanges import PHOTO
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until

LARGE = encode(make_photo(1500, 2000), "JPEG")


class Process:
    """A running `fcn-serve`, its address and its log."""

    def __init__(self, server: Server, log: Path) -> None:
        self.process: psutil.Popen = server.process
        self.url = server.url
        self.port = int(server.url.rpartition(":")[2])
        self.log = log

    def messages(self) -> list[str]:
        *lines, _ = self.log.read_text().split("\n")  # the last one may be in the midst of being written
        return [json.loads(line)["message"] for line in lines if line.startswith("{")]  # OpenVINO writes there as well

    def signal(self, kind: signal.Signals) -> None:
        self.process.send_signal(kind)

    def post(self, data: bytes = PHOTO, **query: object) -> httpx.Response:
        return httpx.post(f"{self.url}/segment", params=query, content=data, timeout=HANG_S)


@contextmanager
def fcn_serve(
    weights: Path, folder: Path, *, ready: bool = True, program: str = SERVE, command: Sequence[str] = (), **settings: object
) -> Iterator[Process]:
    """`fcn-serve` with these weights and settings, killed at the end; its log is `folder/log`.

    ready: whether it is waited for. program: Python code in place of the command's. command: in place of Python with `program`.
    """
    log = folder / "log"
    common = {"weights": weights, "device": "cpu", "runtime": "openvino", "tile": 96, "threads": 1, "log_level": "info"}
    command = command or [sys.executable, "-c", program]
    with service("/health/ready" if ready else None, command=command, log=log, **(common | settings)) as server:
        try:
            yield Process(server, log)
        finally:
            if server.process.is_running():
                server.process.kill()


@contextmanager
def over_http(app: ASGIApp | TestClient, http: Callable[..., asyncio.Protocol] | Literal["h11"] = "h11") -> Iterator[int]:
    """The port where uvicorn serves the app from a thread, without its lifespan; a client's app on the client's event loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app.app if isinstance(app, TestClient) else app, log_level="warning", lifespan="off", loop="asyncio", ws="none",
        http=cast("type[asyncio.Protocol] | Literal['h11']", http), timeout_keep_alive=2 * HANG_S,
    )  # fmt: skip
    server = uvicorn.Server(config)
    if isinstance(app, TestClient):
        assert app.portal
        running: Future[None] = app.portal.start_task_soon(server.serve, [listener])
    else:
        running = Future()
        threading.Thread(target=lambda: running.set_result(server.run([listener]))).start()
    try:
        wait_until(lambda: server.started or running.done())
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        running.result(HANG_S)
        listener.close()
