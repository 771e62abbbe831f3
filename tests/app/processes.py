"""`fcn-serve` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.app.asking import PHOTO
from tests.conftest import HANG_S, SERVE, encoded, free_port, make_photo, wait_until_ready

LARGE = encoded(make_photo(1500, 2000), "JPEG")


class Process:
    """`fcn-serve`, or a Python program that ends in it, its address and its log."""

    def __init__(self, weights: Path, log: Path, program: str = "", **settings: str) -> None:
        self.port = int(settings.get("PORT", free_port()))
        defaults = {"WEIGHTS": weights, "PORT": self.port, "DEVICE": "cpu", "RUNTIME": "openvino", "TILE": "96", "THREADS": "1"}
        environment = os.environ | {f"SEGMENT_{name}": str(value) for name, value in (defaults | settings).items()}
        self.log = log
        with log.open("wb") as file:
            command = [sys.executable, "-c", program or SERVE]
            self.process = subprocess.Popen(command, env=environment, stderr=file, stdout=file)
        self.url = f"http://127.0.0.1:{self.port}"

    def messages(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["message"] for line in lines if line.startswith("{")]  # OpenVINO writes there as well

    def signal(self, kind: signal.Signals) -> None:
        self.process.send_signal(kind)

    def post(self, data: bytes = PHOTO, **query: object) -> httpx.Response:
        return httpx.post(f"{self.url}/segment", params=query, content=data, timeout=HANG_S)


@contextmanager
def fcn_serve(weights: Path, folder: Path, *, ready: bool = True, program: str = "", **settings: str) -> Iterator[Process]:
    running = Process(weights, folder / "log", program, **settings)
    try:
        if ready:
            wait_until_ready(running.url, running.process)
        yield running
    finally:
        running.process.kill()
        running.process.wait()
