"""Segments the images of a listing on several threads, with a bounded number of them in progress."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from cli.answers import Answers, Marks
from cli.input import STDIO, Input
from cli.inputs import Listing
from cli.places import read_whole
from cli.remote import ServerUnusable
from cli.report import Outcome, Result, describe, write_stdout
from cli.resume import CHANGED, UNKNOWN, Journal, Notes, State, answer_key, done_key
from cli.stores import StoreUnavailable, is_url
from model.inference.errors import SchedulerEnded, WorkersStopped
from model.inference.runtime import DeviceLost

THREADS = "fcn-segment image"
AHEAD = 4  # most images for each thread whose outcomes are not reported yet
GRACE_S = 2.0  # how long an interrupted run waits for the images in progress
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # errors of the disk, which affect every answer


class Backend(Protocol):
    """Turns image files' bytes into answers, here or on a service. `workers` threads call it at once."""

    @property
    def workers(self) -> int: ...

    def settings_digest(self) -> str | None:
        """A digest of options and model, for the journal of answers; None if the model is not known. Raises `OSError`."""
        ...

    def __call__(self, data: bytes, name: str) -> Result: ...

    def close(self) -> None: ...


@dataclass
class BulkJob:
    """What is done with an image. Several threads call it at once.

    digest: of options and model; None where answers have no keys. journal: gets a line before each answer. notes: what is known
    of the answers that are there; by default those of the journal. resume: whether to skip answers that are done. force:
    whether to replace also what no run wrote. An error that affects every image sets `_end`; after it no image begins.
    """

    backend: Backend
    answers: Answers
    listing: Listing
    digest: str | None = None
    journal: Journal | None = None
    notes: Notes = field(default_factory=Notes)
    resume: bool = False
    force: bool = False
    _end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.journal:
            self.notes = self.journal.notes

    def __call__(self, image: Input) -> Outcome:
        """The image's outcome. An error becomes its outcome, except for `BrokenPipeError`."""
        if image.problem or self._end.is_set():
            return Outcome(image, None, "failed", problem=image.problem or "the run has ended")
        start, target = time.perf_counter(), None
        try:
            target = self.answers.target(image)
            return self._segment(image, target, start)
        except BrokenPipeError:
            raise
        except Exception as error:
            ends_run = _affects_every_image(error)
            if ends_run:
                self._end.set()
            return Outcome(image, target, "failed", time.perf_counter() - start, describe(error), ends_run)

    def _segment(self, image: Input, target: str, start: float) -> Outcome:
        if not self.answers.file and not is_url(target) and self.listing.holds(Path(target)):
            raise OSError(f"{target} would overwrite an image; give another -o")
        answer = self.answers.relative(image)
        if self.resume and self.digest and (key := done_key(self.notes, self.digest, self.answers, image)):
            return Outcome(image, target, "skipped", key=key)
        state: State = "missing" if self.force or target == STDIO else self.notes.state(answer, target)
        if state == "changed":
            return Outcome(image, target, "kept", time.perf_counter() - start, CHANGED)
        if self.answers.file:
            self.answers.check()
        data, version = image.read()
        result = self.backend(data, image.file_name)
        facts = replace(result, body=b"")  # outcomes wait for others, and bytes need memory
        if state == "unknown" and read_whole(target)[0] != result.body:
            return Outcome(image, target, "kept", time.perf_counter() - start, UNKNOWN, result=facts)
        marks = self._write(answer, target, result.body)
        key = self.digest and answer_key(self.digest, image.full_name, version, answer)
        return Outcome(image, target, "done", time.perf_counter() - start, result=facts, key=key, marks=marks)

    def _write(self, answer: str, target: str, body: bytes) -> Marks | None:
        """Writes an answer and gives its marks; None for stdout."""
        if target == STDIO:
            write_stdout(body)
            return None
        digest = sha256(body).hexdigest()
        if self.journal:
            self.journal.begin(answer, digest)
        return Marks(self.answers.write(target, body), digest)


def run_all(job: BulkJob, images: Iterable[Input], threads: int) -> Generator[Outcome]:
    """Does the job with each image, and yields the outcomes in order.

    No more than `threads` times `AHEAD` images are listed ahead of the outcomes. After an outcome that ends the run, none
    follows. If the generator is closed or interrupted, it waits up to `GRACE_S` seconds for the images in progress.
    """
    listing = iter(images)
    pool = ThreadPoolExecutor(threads, THREADS)
    jobs: deque[Future[Outcome]] = deque()
    complete = False
    try:
        with tqdm(unit="image", disable=not (sys.stderr and sys.stderr.isatty())) as bar:
            while True:
                while len(jobs) < threads * AHEAD and (image := next(listing, None)):
                    jobs.append(pool.submit(job, image))
                if not jobs:
                    complete = True
                    break
                outcome = jobs[0].result()
                jobs.popleft()
                bar.update()
                yield outcome
                if outcome.ends_run:
                    break
    finally:
        pool.shutdown(wait=complete, cancel_futures=True)
        if not complete and not _ended_within_grace():
            job.answers.remove_partials(own=True)


def leave(status: int) -> int:
    """Returns the status; if an image is still in progress, ends the process with this status at once instead.

    Otherwise the interpreter would wait for the image's thread for as long as a server does not answer.
    """
    if _image_threads():
        os._exit(status)
    return status


def _ended_within_grace() -> bool:
    """Waits up to `GRACE_S` seconds, and returns whether all images in progress have ended. A second Ctrl-C ends the wait."""
    end = time.monotonic() + GRACE_S
    try:
        for thread in _image_threads():
            thread.join(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        return False
    return not _image_threads()


def _image_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def _affects_every_image(error: Exception) -> bool:
    return isinstance(error, DeviceLost | SchedulerEnded | WorkersStopped | ServerUnusable | StoreUnavailable) or (
        isinstance(error, OSError) and error.errno in NO_ROOM
    )
