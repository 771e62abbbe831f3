"""Servers under measurement: started as processes of their own, with the default settings unless told otherwise."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180
SERVE = "import sys; from app.main import main; sys.exit(main([]))"  # as the command `fcn-serve` does
POLL_S = 0.02
WATCH_S = 0.05


@dataclass(frozen=True)
class Server:
    """A running server: its address, and its process, whose children count as its own."""

    url: str
    process: psutil.Process

    def wait(self, path: str) -> None:
        """Until this path answers 200; `RuntimeError` where the process ends or is too slow."""
        end = time.monotonic() + PATIENCE_S
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while (running := self.process.status() != psutil.STATUS_ZOMBIE) and time.monotonic() < end:
                with suppress(httpx.TransportError):
                    if client.get(path).status_code == httpx.codes.OK:
                        return
                time.sleep(POLL_S)
        what = f"did not answer in {PATIENCE_S} s" if running else "ended"
        raise RuntimeError(f"no server at {self.url}: its process {what}")

    def pause(self) -> None:
        """Stops its processes until `resume`: some servers keep a processor busy while nobody asks."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def memory_mb(self) -> float:
        """Proportional set size in 10^6 bytes."""
        total = 0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):  # a worker may be replaced meanwhile
                total += process.memory_full_info().pss
        return total / 1e6

    def main_thread_seconds(self) -> float:
        """Processor time of the process's first thread, which has the event loop."""
        fields = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def has_loaded(self, library: str) -> bool:
        """Whether a file of this name is mapped into one of its processes."""
        return any(library in Path(each.path).name for process in self._tree() for each in process.memory_maps())

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _send(self, number: int) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def image_variables(checkout: Path = ROOT) -> dict[str, str]:
    """The variables for glibc that the container's image of a checkout sets."""
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", (checkout / "Dockerfile").read_text()))


def checkout_commit(checkout: Path) -> str:
    """The short name of a checkout's commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def service(
    probe: str = "/health/ready", *, environment: Mapping[str, str] | None = None, checkout: Path = ROOT, **settings: object
) -> Iterator[Server]:
    """The service of a checkout with these settings and other variables, once it answers the probe."""
    port = free_port()
    variables = {"SEGMENT_LOG_LEVEL": "warning", "SEGMENT_PORT": str(port), "PYTHONPATH": str(checkout), **(environment or {})}
    variables |= {f"SEGMENT_{name.upper()}": str(value) for name, value in settings.items()}
    with started([sys.executable, "-c", SERVE], port, probe, variables, checkout) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], port: int, probe: str, variables: dict[str, str] | None = None, folder: Path = ROOT
) -> Iterator[Server]:
    """A server that this command starts, once it answers the probe with 200; ended afterwards with its children."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")} | (variables or {})
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL)
    server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    try:
        server.wait(probe)
        yield server
    finally:
        server.resume()
        _end(process)


class PeakMemory:
    """The most memory that a server takes while the block runs, in 10^6 bytes: `most_mb`, and above the start `risen_mb`.

    The proportional set size is looked at every 50 ms. What rises and falls between two looks the system remembers of the
    resident set, which counts where it has risen more.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._status = Path(f"/proc/{server.process.pid}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.risen_mb = self.most_mb = 0.0

    def __enter__(self) -> PeakMemory:
        self._status.with_name("clear_refs").write_text("5")  # forgets the highest resident set until now (man proc)
        self._resident = self._stated("VmRSS")
        self._before = self.most_mb = self._server.memory_mb()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self.risen_mb = max(self.most_mb - self._before, self._stated("VmHWM") - self._resident)
        self.most_mb = self._before + self.risen_mb

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            self.most_mb = max(self.most_mb, self._server.memory_mb())

    def _stated(self, name: str) -> float:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


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
