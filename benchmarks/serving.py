"""Servers under measurement: started as processes of their own, with the default settings unless told otherwise."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent
PATIENCE_S = 180
POLL_S = 0.05  # to ask more often, each time anew, would take a core from a server that starts


@dataclass(frozen=True)
class Server:
    """A running server: its address, and its process, whose children count as its own."""

    url: str
    process: psutil.Process

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def wait(self, path: str, statuses: Sequence[int] = (200,)) -> None:
        """Until this path answers with one of these statuses; `RuntimeError` where the process ends or is too slow."""
        end = time.monotonic() + PATIENCE_S
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while (running := self.process.status() != psutil.STATUS_ZOMBIE) and time.monotonic() < end:
                try:
                    if client.get(path).status_code in statuses:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(POLL_S)
        what = f"did not answer in {PATIENCE_S} s" if running else "ended"
        raise RuntimeError(f"no server at {self.url}: its process {what}")

    def pause(self) -> None:
        """Stops its processes until `resume`: some servers keep a processor busy while nobody asks."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def memory_mb(self) -> float:
        """Proportional set size in 10^6 bytes."""
        return sum(process.memory_full_info().pss for process in self._tree()) / 1e6

    def cpu_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._tree())


@contextmanager
def service(probe: str = "/health/ready", **settings: object) -> Iterator[Server]:
    """Our service with these settings, once it answers the probe."""
    variables = {f"SEGMENT_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-c", "import sys; from app.main import main; sys.exit(main([]))"]
    port = free_port()
    variables = {"SEGMENT_LOG_LEVEL": "warning", "SEGMENT_PORT": str(port)} | variables
    with started(command, port, probe, variables) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], port: int, probe: str, variables: dict[str, str] | None = None, statuses: Sequence[int] = (200,)
) -> Iterator[Server]:
    """A server that this command starts, once it answers the probe with one of these statuses."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")} | (variables or {})
    process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    try:
        server.wait(probe, statuses)
        yield server
    finally:
        server.resume()
        _end(process)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
