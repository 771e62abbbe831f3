"""Starts the servers to measure, each in its own process and with the default settings unless the caller changes them."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180  # longest start of a server
SERVE = "import sys; from app.main import main; sys.exit(main([]))"  # runs the same code as the command `fcn-serve`
POLL_S = 0.02
WATCH_S = 0.05  # between two readings of the memory


@dataclass(frozen=True)
class Server:
    """A running server: its URL and its process. Memory, signals and libraries include the process's children."""

    url: str
    process: psutil.Popen

    def wait(self, path: str) -> None:
        """Waits until this path answers 200; raises `RuntimeError` if the process ends, or after `PATIENCE_S`."""
        end = time.monotonic() + PATIENCE_S
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while (is_running := self.process.status() != psutil.STATUS_ZOMBIE) and time.monotonic() < end:
                with suppress(httpx.TransportError):
                    if client.get(path).status_code == httpx.codes.OK:
                        return
                time.sleep(POLL_S)
        problem = f"did not answer in {PATIENCE_S} s" if is_running else "ended"
        raise RuntimeError(f"no server at {self.url}: its process {problem}")

    def pause(self) -> None:
        """Stops the processes until `resume`, because some servers use CPU time without any request."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def memory_mb(self) -> float:
        """Proportional set size in 10^6 bytes."""
        total = 0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):  # the server may replace a worker meanwhile
                total += process.memory_full_info().pss
        return total / 1e6

    def metric(self, series: str) -> float:
        """The value of a series without labels in `/metrics`. Raises `RuntimeError` if there is none."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).raise_for_status().text
        if match := re.search(rf"^{series} (\S+)$", text, re.MULTILINE):
            return float(match[1])
        raise RuntimeError(f"the metrics have no {series}")

    def has_loaded(self, library: str) -> bool:
        """Whether a file whose name contains `library` is mapped into one of the processes."""
        return any(library in Path(mapping.path).name for process in self._tree() for mapping in process.memory_maps())

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _send(self, number: int) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def checkout_commit(checkout: Path) -> str:
    """The short name of a checkout's commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def service(
    probe: str | None = "/health/ready",
    *,
    environment: Mapping[str, str] | None = None,
    checkout: Path = ROOT,
    command: Sequence[str] = (sys.executable, "-c", SERVE),
    log: Path | None = None,
    **settings: object,
) -> Iterator[Server]:
    """Starts the service of a checkout and yields it once it answers the probe with 200; ends it afterwards.

    probe, log: as for `start_server`. environment: additional variables. settings: by their names without the prefix, such as
    `memory_mb=600`; the port is a free one by default.
    """
    port = settings.get("port") or free_port()
    assert isinstance(port, int)
    variables = {"SEGMENT_LOG_LEVEL": "warning", "SEGMENT_PORT": str(port), "PYTHONPATH": str(checkout), **(environment or {})}
    variables |= {f"SEGMENT_{name.upper()}": str(value) for name, value in settings.items()}
    with start_server(command, port, probe, variables, checkout, log) as server:
        yield server


@contextmanager
def start_server(
    command: Sequence[str],
    port: int,
    probe: str | None,
    variables: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    log: Path | None = None,
) -> Iterator[Server]:
    """Starts a server with this command in this folder and yields it once it answers the probe with 200.

    Afterwards the server and its children are ended. probe: a path, or None to yield the server at once. The server gets this
    process's variables, except those that begin with `SEGMENT_`, and `variables`. log: the file that gets its standard output
    and standard error; without it the former is discarded. Raises `RuntimeError` if the server does not start.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")} | dict(variables or {})
    with log.open("wb") if log else nullcontext() as file:
        process = psutil.Popen(
            command, env=environment, cwd=folder, start_new_session=True, stdout=file or subprocess.DEVNULL, stderr=file
        )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        if probe is not None:
            server.wait(probe)
        yield server
    finally:
        _end(server)


class PeakMemory:
    """Peak memory of a server while the block runs, in 10^6 bytes.

    most_mb: the peak. risen_mb: the peak less the memory at the start. Both are final once the block has ended.

    A thread reads the proportional set size every 50 ms. The system records the peak of the main process's resident set, which
    also shows peaks between two readings; its rise counts if it is larger.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._status = Path(f"/proc/{server.process.pid}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.risen_mb = self.most_mb = 0.0

    def __enter__(self) -> PeakMemory:
        self._status.with_name("clear_refs").write_text("5")  # resets the recorded peak of the resident set (man proc)
        self._resident = self._read_mb("VmRSS")
        self._before = self.most_mb = self._server.memory_mb()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self.risen_mb = max(self.most_mb - self._before, self._read_mb("VmHWM") - self._resident)
        self.most_mb = self._before + self.risen_mb

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            self.most_mb = max(self.most_mb, self._server.memory_mb())

    def _read_mb(self, name: str) -> float:
        """A field of `/proc/PID/status` in 10^6 bytes."""
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that systems give to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def _end(server: Server) -> None:
    """Resumes and terminates the process, kills it if it still runs after 20 s, and kills all of its process group."""
    with suppress(psutil.NoSuchProcess):  # it may have ended
        server.resume()
        server.process.terminate()
    with suppress(psutil.TimeoutExpired):
        server.process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(20)
