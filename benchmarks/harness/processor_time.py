"""Processor time of a service, by process and thread, from `/proc` (Linux): proc_pid_stat(5)."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from benchmarks.harness.serving import Server


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds of processor time. event_loop: the first thread of the front process. network: its other threads.

    workers: all other processes, in user mode and in the system, with those that have ended as their parents count them.
    """

    event_loop: float
    network: float
    workers_user: float
    workers_system: float

    @classmethod
    def read(cls, server: Server) -> ProcessorTime:
        pid = server.process.pid
        event_loop = sum(_ticks(Path(f"/proc/{pid}/task/{pid}/stat"))[:2])
        front = sum(_ticks(Path(f"/proc/{pid}/stat"))[:2])
        user = system = 0.0
        for process in server.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess, FileNotFoundError):  # the service may replace a worker meanwhile
                ticks = _ticks(Path(f"/proc/{process.pid}/stat"))
                user, system = user + ticks[0] + ticks[2], system + ticks[1] + ticks[3]
        return cls(event_loop, front - event_loop, user, system)

    def since(self, earlier: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))

    @property
    def total(self) -> float:
        return self.event_loop + self.network + self.workers_user + self.workers_system


def _ticks(path: Path) -> list[float]:
    """Seconds in user mode, in the system, and both of children that have ended."""
    fields = path.read_text().rsplit(")", 1)[1].split()
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15]]
