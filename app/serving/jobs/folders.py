"""The folders of jobs: read, measured and removed. Any thread may call these functions; no event loop should."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from app.serving.jobs.job import FILE, RESULT, WORK, Job
from app.serving.jobs.shares import Use

LOCK = ".lock"
BLOCK_BYTES = 4096  # that a file takes at least
ID = re.compile("[0-9a-f]{32}")
TRIES, PAUSE_S = 5, 0.05  # of removing a folder into which a thread may still write
log = logging.getLogger("segment")


def lock_folder(folder: Path) -> TextIO:
    """Makes a folder for jobs, if it is not there, and locks it until the file is closed. Raises `OSError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise OSError(f"must be a folder that the service can make and write to, got {folder} ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise OSError(f"{folder} is in use by another service; give each its own SEGMENT_JOBS_DIR") from error
    return lock


def read_jobs(root: Path, others: Container[str]) -> list[tuple[Job, Use]]:
    """The jobs in a folder but these others, with what they have; the first that ended, then the oldest first.

    Removes what is left of uploads and jobs that were removed. Leaves out, and logs, what is not read. What is not named as a
    job stays. Raises `OSError` for the folder itself.
    """
    jobs = []
    with os.scandir(root) as entries:
        for entry in entries:
            if not ID.fullmatch(entry.name) or entry.name in others or not entry.is_dir(follow_symlinks=False):
                continue
            try:
                if job := _read_job(folder := Path(entry.path)):
                    jobs.append((job, usage(folder)))
            except (OSError, ValueError) as error:
                words = str(error).partition(" [type=")[0].split()  # then pydantic quotes the value, perhaps an address
                log.error("%s is not read: %s; remove the folder", entry.path, " ".join(words))
    return sorted(jobs, key=lambda pair: (pair[0].finished or "", pair[0].created, pair[0].id))


def _read_job(folder: Path) -> Job | None:
    """The job of a folder, which the service may have been killed while it removed. Raises `OSError` or `ValueError`."""
    try:
        job = Job.load(folder)
    except FileNotFoundError:
        if strange := [name for name in os.listdir(folder) if name != WORK and not name.lstrip(".").startswith((FILE, RESULT))]:
            raise ValueError(f"it has no {FILE}, but {strange[0]!r}") from None
        remove_tree(folder)
        return None
    if job.status == "dismissed":
        erase(folder)
        return None
    if not job.is_open:
        strip(folder, job)
    return job


def strip(folder: Path, job: Job) -> None:
    """Removes all files of an ended job's folder but `FILE` and, of a successful one, its results."""
    remove_tree(folder / WORK)
    for name in job.results.values() if job.status != "successful" else ():
        with suppress(OSError):
            (folder / name).unlink()


def erase(folder: Path) -> None:
    """Removes a job's folder; the job first, so that it is gone also if this is interrupted."""
    with suppress(OSError):
        (folder / FILE).unlink()
    remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Removes a folder. Logs one that cannot be removed."""
    for _ in range(TRIES):
        with suppress(RecursionError):  # more folders in each other than Python removes
            shutil.rmtree(folder, ignore_errors=True)
        if folder.is_symlink() or not folder.is_dir():
            return
        time.sleep(PAUSE_S)
    log.error("%s could not be removed; remove it", folder)


def usage(folder: Path) -> Use:
    """What a job has: a place, and the bytes and files in its folder, with the folder itself."""
    size, count, folders = 0, 0, [os.fspath(folder)]
    while folders:
        count += 1
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    size += max(BLOCK_BYTES, entry.stat(follow_symlinks=False).st_size)
                    count += 1
    return Use(1, size, count)
