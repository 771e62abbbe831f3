"""A load of images over HTTP, sent by wrk: its answers checked, its own CPU time counted."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

SCRIPT = Path(__file__).with_name("wrk.lua")
SETTLING = 0.25  # of a load's time, until answers come as they will go on to: servers that batch answer none at first


@dataclass(frozen=True)
class Sample:
    """An image to post, and the answer's bytes, where they are known."""

    body: bytes
    expected: bytes | None
    content_type: str = "image/jpeg"


@dataclass(frozen=True)
class Answer:
    """One answer: of which sample (-1 unknown), when it ended, its status, milliseconds (-1 unknown), and if it was right."""

    index: int
    ended: float
    status: int
    ms: float
    right: bool


@dataclass(frozen=True)
class Load:
    """What came of a load. p99: wrk's own, in milliseconds. errors: of sockets, and timeouts. cpu_seconds: of wrk."""

    answers: list[Answer]
    began: float
    seconds: float
    p99: float
    errors: int
    cpu_seconds: float

    @property
    def good(self) -> int:
        """Answers of status 200 with the right bytes."""
        return sum(answer.right and answer.status == 200 for answer in self.answers)

    @property
    def wrong(self) -> int:
        """Answers of status 200 with other bytes."""
        return sum(answer.status == 200 and not answer.right for answer in self.answers)

    @property
    def failed(self) -> int:
        """Answers of another status than 200."""
        return sum(answer.status != 200 for answer in self.answers)

    @property
    def rate(self) -> float:
        """Good answers a second, once the load has settled: what is under way then and at the end weighs the same."""
        ended = [a.ended for a in self.answers if a.right and a.status == 200]
        settled = sum(when >= self.began + SETTLING * self.seconds for when in ended)
        return settled / ((1 - SETTLING) * self.seconds) if settled else len(ended) / self.seconds

    @property
    def cores(self) -> float:
        """Of those that there are, how many wrk kept busy."""
        return self.cpu_seconds / self.seconds

    def checked(self, *, may_refuse: bool = False) -> Load:
        """This load; raises `RuntimeError` where an answer was wrong or (but for `may_refuse`) refused, a socket failed, or
        none came."""
        if self.wrong or self.errors or not self.good or (self.failed and not may_refuse):
            counts = f"{self.good} right answers, {self.wrong} wrong ones, {self.failed} failures, {self.errors} errors"
            raise RuntimeError(f"a load went wrong: {counts}")
        return self

    def milliseconds(self, status: int = 200) -> list[float]:
        """Of the answers with this status."""
        return [a.ms for a in self.answers if a.status == status]


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def available() -> bool:
    return shutil.which("wrk") is not None


def load(
    url: str, samples: Sequence[Sample], *, connections: int, seconds: float, pause_ms: float = 0, path: str = "/segment"
) -> Load:
    """Posts the samples in turn over so many connections, each one's next request up to twice `pause_ms` after an answer.

    Raises `RuntimeError` where wrk is missing or fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, sample in enumerate(samples):
            (folder / f"{index}.body").write_bytes(sample.body)
            if sample.expected is not None:
                (folder / f"{index}.expected").write_bytes(sample.expected)
        (folder / "list").write_text("".join(f"{sample.content_type}\n" for sample in samples))
        out = folder / "answers"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "120s", "-s", str(SCRIPT)]
        arguments = [str(folder), str(out), path, str(pause_ms), str(connections)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            result = subprocess.run([*command, url, "--", *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise RuntimeError("wrk is not installed") from error
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = next((line.split()[1:] for line in result.stdout.splitlines() if line.startswith("FCN ")), None)
        if result.returncode or summary is None:
            raise RuntimeError(f"wrk failed: {result.stderr.strip() or result.stdout.strip()}")
        began, *lines = out.read_text().splitlines()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds, p99, *errors = map(float, summary)
    return Load([_answer(line) for line in lines], float(began), seconds, p99, int(sum(errors)), cpu)


@contextmanager
def repeated(ask: Callable[[], object]) -> Iterator[None]:
    """Has something asked without pause, on a thread, while the block runs; raises what `ask` raised."""
    stop, errors = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                ask()
            except (RuntimeError, httpx.HTTPError) as error:
                errors.append(error)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def _answer(line: str) -> Answer:
    index, ended, status, ms, right = line.split()
    return Answer(int(index), float(ended), int(status), float(ms), right == "1")
