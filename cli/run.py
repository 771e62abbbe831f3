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
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cli.answers import Answers
from cli.backend import Backend
from cli.input import STDIO, Input
from cli.inputs import Listing
from cli.remote import ServerUnusable
from cli.report import Outcome, describe, write_stdout
from cli.resume import Journal, answer_key, done_key
from cli.stores import StoreUnavailable, is_url
from model.inference.errors import SchedulerEnded
from model.inference.runtime import DeviceLost

THREADS = "fcn-segment image"
AHEAD = 4  # most images for each thread whose outcomes are not reported yet
GRACE_S = 2.0  # how long an interrupted run waits for the images in progress
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # errors of the disk, which affect every answer


@dataclass
class Job:
    """What is done with an image. Several threads call it at once.

    digest: of options and model; None where answers go to one file or to stdout, which have no keys. journal: the job skips the
    answers that are done by it; None skips nothing. An error that affects every image sets `_end`; after it no image begins.
    """

    backend: Backend
    answers: Answers
    listing: Listing
    digest: str | None = None
    journal: Journal | None = None
    _end: threading.Event = field(default_factory=threading.Event)

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
        if self.journal and self.digest and (key := done_key(self.journal, self.digest, self.answers, image)):
            return Outcome(image, target, "skipped", key=key)
        data, version = image.read()
        result = self.backend(data, image.file_name)
        if target == STDIO:
            write_stdout(result.body)
        else:
            self.answers.write(target, result.body)
        key = self.digest and answer_key(self.digest, image.full_name, version, self.answers.relative(image))
        seconds, file_version = time.perf_counter() - start, self.answers.file_version(target)
        return Outcome(image, target, "done", seconds, result=result, key=key, file_version=file_version)


def run_all(job: Job, images: Iterable[Input], threads: int) -> Generator[Outcome]:
    """Does the job with each image, and yields the outcomes in order.

    No more than `threads` times `AHEAD` images are listed ahead of the outcomes. After an outcome that ends the run, none
    follows. If the generator is closed or interrupted, it waits up to `GRACE_S` seconds for the images in progress.
    """
    listing = iter(images)
    pool = ThreadPoolExecutor(threads, THREADS)
    jobs: deque[tuple[Input, Future[Outcome]]] = deque()
    complete = False
    try:
        with tqdm(unit="image", disable=not (sys.stderr and sys.stderr.isatty())) as bar:
            while True:
                while len(jobs) < threads * AHEAD and (image := next(listing, None)):
                    jobs.append((image, pool.submit(job, image)))
                if not jobs:
                    complete = True
                    break
                outcome = jobs[0][1].result()
                jobs.popleft()
                bar.update()
                yield outcome
                if outcome.ends_run:
                    break
    finally:
        pool.shutdown(wait=complete, cancel_futures=True)
        if not complete and not _ended_within_grace():
            for image, _ in jobs:
                job.answers.remove_partial(image)


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
    return isinstance(error, DeviceLost | SchedulerEnded | ServerUnusable | StoreUnavailable) or (
        isinstance(error, OSError) and error.errno in NO_ROOM
    )
