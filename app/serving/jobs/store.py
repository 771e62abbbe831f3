"""The jobs in a folder, each in a folder of its own, and their share of the disk."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from app.serving.errors import DiskFull, QueueFull
from app.serving.jobs.job import FILE, STATUSES, WORK, Job

RESERVE_BYTES = 1 << 29  # of the disk that stay free
MOST_OPEN, MOST_JOBS = 1000, 10_000  # of a client that have not ended, and in all
BLOCK_BYTES = 4096  # that a file takes at least
LOCK = ".lock"
ID = re.compile("[0-9a-f]{32}")
log = logging.getLogger("segment")


class JobStore:
    """The jobs of a folder, which one process at a time uses: it holds a lock (flock). Only for the event loop.

    most_bytes: that all jobs together may have on the disk. days: after which a job that has ended is removed. Raises `OSError`
    if the folder cannot be used. Folders of uploads that never ended are removed; what is not named as a job stays.
    """

    def __init__(self, folder: Path, most_bytes: float, days: float) -> None:
        self.root, self._most_bytes, self._days = folder, most_bytes, days
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("w")
        except OSError as error:
            raise OSError(
                f"must be a folder that the service can make and write to, got {folder} ({error.strerror})"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise OSError(f"{folder} is in use by another service; give each its own SEGMENT_JOBS_DIR") from error
        self._jobs: dict[str, Job] = {}
        self._uploads: dict[str, int] = {}
        for path in folder.iterdir():
            if ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                self._load(path)
        self._jobs = dict(sorted(self._jobs.items(), key=lambda item: (item[1].created, item[0])))

    def close(self) -> None:
        self._lock.close()

    def folder(self, job: Job) -> Path:
        return self.root / job.id

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        return list(self._jobs.values())

    def of(self, owner: str) -> list[Job]:
        """The jobs of an owner, the newest first."""
        return [job for job in reversed(self.jobs()) if job.owner == owner]

    def get(self, id: str, owner: str) -> Job | None:
        """The job of this id; None if there is none, or if it belongs to another owner."""
        job = self._jobs.get(id)
        return job if job and job.owner == owner else None

    @asynccontextmanager
    async def upload(self, client: str, count: int) -> AsyncIterator[tuple[str, Path]]:
        """An id and a new folder for a job whose body may have `count` bytes. It is removed unless `add` gets the job.

        Raises `QueueFull`, `DiskFull` or `OSError`.
        """
        if sum(job.client == client and job.is_open for job in self._jobs.values()) >= MOST_OPEN:
            raise QueueFull(f"{MOST_OPEN} jobs of yours wait, which is the limit", 60)
        if len(self._jobs) + len(self._uploads) >= MOST_JOBS:
            raise DiskFull(f"there are {MOST_JOBS} jobs, which is the limit; remove those that have ended, with DELETE")
        id = secrets.token_hex(16)
        self._uploads[id] = 0
        path = self.root / id
        try:
            self.check_room(id, count)
            path.mkdir(mode=0o700)
            (path / WORK).mkdir()
            yield id, path
        finally:
            del self._uploads[id]
            if id not in self._jobs:
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    def check_room(self, id: str, count: int) -> None:
        """Counts `count` bytes for an upload. Raises `DiskFull` if the disk, or the share of jobs, has no room for them."""
        before, self._uploads[id] = self._uploads[id], max(count, self._uploads[id])
        used = self.used_bytes()
        if used > self._most_bytes:
            raise DiskFull(
                f"jobs would have {used / 1e6:.0f} MB on the disk, and may have {self._most_bytes / 1e6:.0f} MB; remove those "
                "that have ended, with DELETE; the operator can raise SEGMENT_JOBS_MB"
            )
        if not self.has_reserve(self._uploads[id] - before):
            problem = f"the service's disk is full, but for its reserve of {RESERVE_BYTES / 1e6:.0f} MB"
            raise DiskFull(f"{problem}; remove jobs that have ended, or try again later")

    def has_reserve(self, count: int = 0) -> bool:
        """Whether the disk keeps its reserve, with `count` bytes more."""
        return shutil.disk_usage(self.root).free - count >= RESERVE_BYTES

    def used_bytes(self) -> int:
        """Bytes on the disk of all jobs and uploads. Those of running jobs are as of their last change."""
        return sum(job.bytes for job in list(self._jobs.values())) + sum(self._uploads.values())

    async def add(self, job: Job) -> None:
        """Keeps a new job in its folder. Raises `OSError`."""
        await self.measure(job)
        job.save(self.folder(job))
        self._jobs[job.id] = job

    def save(self, job: Job) -> None:
        """Writes a change of a job; one that a full disk does not take is logged, and counts until the next start.

        A job that was removed meanwhile stays removed.
        """
        if job.id not in self._jobs:
            return
        try:
            job.save(self.folder(job))
        except OSError as error:
            log.error("a job could not be written: %s", error, extra={"fields": {"job": job.id}})

    async def measure(self, job: Job) -> None:
        """Counts what a job has on the disk. In a thread, since it may have tens of thousands of files."""
        job.bytes = await asyncio.to_thread(size_of, self.folder(job))

    async def clear(self, job: Job) -> None:
        """Removes all files of a job that has ended, but itself and, of a successful one, its result.

        A job that was removed meanwhile stays removed.
        """
        if job.id not in self._jobs:
            return
        await asyncio.to_thread(strip, self.folder(job), job)
        self.save(job)
        await self.measure(job)

    async def remove(self, job: Job) -> None:
        """Removes a job with its files."""
        self._jobs.pop(job.id, None)
        await asyncio.to_thread(erase, self.folder(job))

    async def remove_old(self) -> None:
        """Removes jobs that ended long ago."""
        for job in self.jobs():
            if job.finished and time.time() - datetime.fromisoformat(job.finished).timestamp() > self._days * 86_400:
                await self.remove(job)

    def counts(self) -> dict[str, int]:
        """How many jobs have each status. Any thread may call it, as the next one."""
        statuses = [job.status for job in list(self._jobs.values())]
        return {status: statuses.count(status) for status in STATUSES}

    def longest_wait(self) -> float:
        """Seconds since the oldest job that waits was accepted; 0 if none waits."""
        waiting = [job.created for job in list(self._jobs.values()) if job.status == "accepted"]
        return time.time() - datetime.fromisoformat(min(waiting)).timestamp() if waiting else 0.0

    def _load(self, path: Path) -> None:
        if not (path / FILE).is_file():
            shutil.rmtree(path, ignore_errors=True)
            return
        try:
            job = Job.load(path)
        except (OSError, ValueError) as error:
            log.error("%s is not read: %s; remove the folder", path, " ".join(str(error).split()))
            return
        if not job.is_open:
            strip(path, job)  # the service was killed before it did
        self._jobs[job.id], job.bytes = job, size_of(path)


def strip(folder: Path, job: Job) -> None:
    """Removes all files of an ended job's folder but `FILE` and, of a successful one, its result. Any thread may call it."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    if job.status != "successful":
        with suppress(OSError):
            (folder / job.result).unlink()


def erase(folder: Path) -> None:
    """Removes a job's folder; the job first, so that it is gone also if this is interrupted. Any thread may call it."""
    with suppress(OSError):
        (folder / FILE).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """The bytes that the files below a folder take on the disk."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += max(BLOCK_BYTES, os.lstat(os.path.join(parent, name)).st_size)
    return total
