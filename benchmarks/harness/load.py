"""Sends images over HTTP with wrk, checks the answers, and counts the CPU time of wrk."""

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
SETTLING = 0.25  # share of a load that the rate leaves out: servers that batch give no answers at first


@dataclass(frozen=True)
class Sample:
    """An image to post. answer: the bytes of the right answer, or None if they are not known."""

    body: bytes
    answer: bytes | None
    content_type: str = "image/jpeg"


@dataclass(frozen=True)
class Answer:
    """One answer.

    index: of its sample; -1 if unknown. end_time: seconds on the monotonic clock. ms: from the request to the answer; -1 if
    unknown. right: whether its bytes are the expected ones.
    """

    index: int
    end_time: float
    status: int
    ms: float
    right: bool


@dataclass(frozen=True)
class Load:
    """The result of a load.

    began: on the clock of `Answer.end_time`. p99: as wrk reports it, in milliseconds. errors: socket errors and timeouts.
    cpu_seconds: CPU time of wrk.
    """

    answers: list[Answer]
    began: float
    seconds: float
    p99: float
    errors: int
    cpu_seconds: float

    @property
    def good(self) -> int:
        """Number of answers of status 200 with the right bytes."""
        return sum(answer.right and answer.status == 200 for answer in self.answers)

    @property
    def wrong(self) -> int:
        """Number of answers of status 200 with wrong bytes."""
        return sum(answer.status == 200 and not answer.right for answer in self.answers)

    @property
    def failures(self) -> int:
        """Number of answers of another status than 200."""
        return sum(answer.status != 200 for answer in self.answers)

    @property
    def rate(self) -> float:
        """Good answers a second after the first `SETTLING` of the load.

        Requests under way at the end are not counted; those under way at the start of the interval make up for them.
        """
        ended_at = [a.end_time for a in self.answers if a.right and a.status == 200]
        settled_count = sum(moment >= self.began + SETTLING * self.seconds for moment in ended_at)
        return settled_count / ((1 - SETTLING) * self.seconds) if settled_count else len(ended_at) / self.seconds

    @property
    def cores(self) -> float:
        """Mean number of cores that wrk kept busy."""
        return self.cpu_seconds / self.seconds

    def check(self, *, may_refuse: bool = False) -> Load:
        """Returns this load if it went well.

        Raises `RuntimeError` if an answer was wrong, if a socket failed or timed out, if there was no good answer, or, without
        `may_refuse`, if an answer had another status than 200.
        """
        if self.wrong or self.errors or not self.good or (self.failures and not may_refuse):
            counts = f"{self.good} right answers, {self.wrong} wrong ones, {self.failures} failures, {self.errors} errors"
            raise RuntimeError(f"a load went wrong: {counts}")
        return self

    def milliseconds(self, status: int = 200) -> list[float]:
        """Milliseconds of each answer with this status."""
        return [a.ms for a in self.answers if a.status == status]


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def load(url: str, samples: Sequence[Sample], *, connections: int, seconds: float, pause_ms: float = 0) -> Load:
    """Posts the samples in turn to `/segment` over this number of connections.

    Each connection pauses between an answer and the next request, by `pause_ms` on average and at most twice that. Raises
    `RuntimeError` if wrk is missing or fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, sample in enumerate(samples):
            (folder / f"{index}.body").write_bytes(sample.body)
            if sample.answer is not None:
                (folder / f"{index}.expected").write_bytes(sample.answer)
        (folder / "list").write_text("".join(f"{sample.content_type}\n" for sample in samples))
        out = folder / "answers"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "120s", "-s", str(SCRIPT)]
        arguments = [str(folder), str(out), "/segment", str(pause_ms), str(connections)]
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
def repeat(ask: Callable[[], object]) -> Iterator[None]:
    """Calls `ask` repeatedly on a thread while the block runs.

    Stops at a `RuntimeError` or `httpx.HTTPError` of `ask`, and raises it after the block.
    """
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
    """Parses a line that `wrk.lua` wrote."""
    index, end_time, status, ms, right = line.split()
    return Answer(int(index), float(end_time), int(status), float(ms), right == "1")
