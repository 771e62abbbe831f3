"""The worker processes of many commands in one process, where starting them is not what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli.local import Local
from imaging.decoding import Limits
from model.inference.plan import Options
from model.inference.runtime import Runtime


@contextmanager
def kept_workers() -> Iterator[type[Local]]:
    """As `Local`, whose processes and threads serve all runs with the same network until the context ends."""
    workers: dict[tuple[Runtime, int], Local] = {}

    class Kept(Local):
        def __init__(
            self, runtime: Runtime, options: Options, limits: Limits | None = None, threads: int = 0, **more: Any
        ) -> None:
            first = workers.get((runtime, threads))
            if first is None:
                workers[runtime, threads] = self
                super().__init__(runtime, options, limits, threads, **more)
            else:
                vars(self).update(vars(first))
                self.options, self.limits = options, limits or Limits()
                self.deadline_s = more["deadline_s"]

        def close(self) -> None:
            """Others use what this would end."""

    yield Kept
    for local in workers.values():
        Local.close(local)
