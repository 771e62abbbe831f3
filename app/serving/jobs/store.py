"""The jobs in a folder, each in a folder of its own, and their share of the disk."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from app.serving.clients import Client, Clients
from app.serving.errors import DiskFull, QueueFull, ResultMissing
from app.serving.fair_queue import FairTurns
from app.serving.jobs.folders import BLOCK_BYTES, erase, lock_folder, read_jobs, strip, usage
from app.serving.jobs.job import WORK, Job
from app.serving.jobs.shares import Lack, Ranking, Shares, Use, minus
from app.serving.jobs.table import JobTable

RESERVE_BYTES = 1 << 29  # of the disk that stay free
RESERVE_FILES = 1 << 14  # the same, but at most a tenth of all
MOST_OPEN, MOST_JOBS = 1000, 10_000  # of a client that have not ended, and in all
MOST_FILES = 1_000_000  # of all jobs
MOST_UPLOADS = 16  # of a client at once, and half of the places that the others leave; each holds memory
FOLDERS = 2  # of a job
GONE = "the job's result is no longer there; send the job again"
NO_ROOM = "there is no room on the service's disk; send it again later"
log = logging.getLogger("segment")


@dataclass
class _Holder:
    """A job or an upload: whose share it takes, what it has, and who reads its result."""

    account: str
    use: Use = field(default_factory=Use)
    readers: set[Client] = field(default_factory=set)


class JobStore(JobTable):
    """The jobs of a folder, which one process at a time uses: it holds a lock (flock). Only for the event loop.

    most_bytes: that all jobs together may have on the disk. days: after which a job that has ended is removed. clients: whose
    uploads are closed if they are slow while others need what they have. Raises `OSError` if the folder cannot be used.

    Its jobs are there after `load`. Of places, bytes and files, uploads have what has arrived, and each client its `share`.
    What clients had beyond it while they were alone, and what jobs take beyond a limit while they run, the client with most
    gives back. uploads, removals: turns at writing what comes, and at removing. end_job: ends a job that has not ended, with
    these words. on_remove: is called for each job that is removed. places: for uploads, for which there is memory.
    """

    def __init__(
        self, folder: Path, most_bytes: float, days: float, clients: Clients | None = None, places: int = 1 << 10
    ) -> None:
        super().__init__()
        self.root, self._most = folder, Use(MOST_JOBS, int(most_bytes), MOST_FILES)
        self._days, self._clients, self._upload_places = days, clients or Clients(), places
        self._lock = lock_folder(folder)
        self.is_loaded, self.uploads, self.removals = False, FairTurns(1), FairTurns(1)
        self._giving, self._gifts = asyncio.Lock(), 0
        self.end_job: Callable[[Job, str], Awaitable[None]]
        self.on_remove: Callable[[Job], None] = lambda job: None
        self._holders, self._shares = dict[str, _Holder](), Shares()
        self._connections: dict[str, Client] = {}  # of uploads

    async def load(self) -> None:
        """Reads the jobs, in a thread. Raises `OSError`."""
        for job, use in await asyncio.to_thread(read_jobs, self.root, frozenset(self._holders)):
            self._enter(job)
            self._holders[job.id] = _Holder(job.account)
            self._count(job.id, use)
            await asyncio.sleep(0)  # there may be thousands
        self.is_loaded = True

    def close(self) -> None:
        self._lock.close()

    def folder(self, job: Job) -> Path:
        return self.root / job.id

    @asynccontextmanager
    async def upload(self, account: str, count: int, connection: Client | None = None) -> AsyncIterator[tuple[str, Path]]:
        """An id and a new folder for a job of this client. It is removed unless `add` gets the job.

        count: bytes that the body is said to have, which are not counted before they arrive. Raises `QueueFull`, `DiskFull` or
        `OSError`.
        """
        if self._open_count(account) >= MOST_OPEN:
            raise QueueFull(f"{MOST_OPEN} jobs of yours wait, which is the limit", 60)
        own = sum(self._holders[id].account == account for id in self._connections)
        if own >= min(MOST_UPLOADS, max(1, (self._upload_places - len(self._connections) + own) // 2)):
            raise QueueFull(f"{own} uploads of yours are under way, which is half of what others leave, or the limit", 10)
        said = self._shares.lack(self._limits(), account, Use(bytes=count), has_share=True)
        if said and said.giver in (None, account):
            raise self._refusal(said)
        id = secrets.token_hex(16)
        self._holders[id] = _Holder(account)
        if connection:
            self._connections[id] = connection
        path = self.root / id
        try:
            await self.check_room(id, 0, 0)
            path.mkdir(mode=0o700)
            (path / WORK).mkdir()
            yield id, path
        finally:
            self._connections.pop(id, None)
            if not self._find(id):
                await self._remove(id)

    async def check_room(self, id: str, count: int, files: int) -> None:
        """Counts the bytes and files that an upload has now. A client that has more than its share gives them, if it has to.

        Raises `DiskFull` for more than the own share, or than there is room for. Then slow uploads of clients that have more
        are closed, since this one waits for what they have.
        """
        holder, use = self._holders[id], Use(1, count + BLOCK_BYTES * files, FOLDERS + files)
        while lack := self._shares.lack(self._limits(), holder.account, minus(use, holder.use), has_share=True):
            if not await self._give(lack, holder.account):
                uses, holders = self._shares.uses[lack.resource], self._holders
                most = (each for id, each in self._connections.items() if uses[holders[id].account] >= uses[holder.account])
                self._clients.close_slow(most)  # they have no less than this one, which waits for what they have
                raise self._refusal(lack)
            if lack.resource == "jobs":  # the place passes on
                self._count(id, holder.use._replace(jobs=1))
        self._count(id, use)

    async def grow(self, job: Job) -> str:
        """Measures a job that is in work. If there is no room for what it has, the client with most gives back.

        Returns why the job has to end; empty if it may go on.
        """
        use = await self._measure(job)
        while self._find(job.id):
            more = minus(use, self._holders[job.id].use)
            lack = self._shares.lack(self._limits(more), job.account, more, has_share=False)
            if lack and (lack.giver == job.account or self._is_above(lack)):
                return self._words(lack)
            if not lack or not await self._give(lack, job.account):
                self._count(job.id, use)
                break
        return ""

    async def _give(self, lack: Lack, asker: str) -> bool:
        """Takes what is lacking from `lack.giver`, or from the asker where its own share is the limit.

        For a place in the table, the job of `_first_ended` is removed. For bytes and files, the giver's job with most of them
        is removed, or fails if it has not ended; if the giver has no job, its uploads are closed. Nobody gives bytes or files
        to itself. One job is taken at a time: a second asker waits for the first, and looks again. False if nobody can give,
        or if other things than jobs fill the disk.
        """
        is_place, account = lack.resource == "jobs", lack.giver or asker
        if self._is_above(lack) or (account == asker and not is_place):
            return False
        gifts = self._gifts
        async with self._giving:
            if gifts != self._gifts:  # another asker got something meanwhile, which may be enough
                return True
            parts = self._shares.parts.get((account, lack.resource), Ranking())
            largest = next(filter(None, (self._find(id) for _, id in parts.most())), None)
            if job := self._first_ended(asker, is_own=not lack.giver) if is_place else largest:
                await (self.end_job(job, self._words(lack)) if job.is_open else self.remove(job))
                self._gifts += 1
                return True
        for id, connection in self._connections.items():
            if self._holders[id].account == account != asker:
                connection.close()
        return False

    def _is_above(self, lack: Lack) -> bool:
        """Whether jobs already have more than the limit, which sank because others fill the disk."""
        return bool(getattr(self._shares.total, lack.resource) > lack.limit != getattr(self._most, lack.resource))

    def _limits(self, written: Use = Use()) -> Use:  # noqa: B008 (cannot change)
        """What all jobs together may have: as it is set, or as the disk has it beside its reserve.

        written: what the disk has, and is not counted.
        """
        disk, has = os.statvfs(self.root), Use(*map(sum, zip(self._shares.total, written, strict=True)))
        count = has.bytes + disk.f_bavail * disk.f_frsize - RESERVE_BYTES
        files = has.files + disk.f_favail - min(RESERVE_FILES, disk.f_files // 10)
        return Use(self._most.jobs, min(self._most.bytes, count), min(self._most.files, files if disk.f_files else MOST_FILES))

    def _problem(self, lack: Lack) -> str:
        if lack.limit != getattr(self._most, lack.resource):
            return f"the service's disk is full, but for its reserve of {RESERVE_BYTES / 1e6:.0f} MB and {RESERVE_FILES} files"
        limit = f"{lack.limit / 1e6:g} MB (SEGMENT_JOBS_MB)" if lack.resource == "bytes" else f"{lack.limit} {lack.resource}"
        return f"the limit of all clients together is {limit}"

    def _refusal(self, lack: Lack) -> DiskFull:
        advice = "remove jobs of yours that have ended, with DELETE, or try again later"
        return DiskFull(f"{self._problem(lack)}, and you at most half of what the others leave; {advice}")

    def _words(self, lack: Lack) -> str:
        """Why a job cannot go on."""
        if lack.limit != getattr(self._most, lack.resource):
            return NO_ROOM
        return f"{self._problem(lack)}, and yours have the most; remove those that have ended, and send it again"

    def _count(self, id: str, use: Use) -> None:
        """Counts what a job or an upload has now."""
        holder = self._holders[id]
        self._shares.change(holder.account, id, minus(use, holder.use))
        holder.use = use

    def used_bytes(self) -> int:
        """Bytes on the disk of all jobs and uploads. Those of running jobs are as of their last change."""
        return self._shares.total.bytes

    async def add(self, job: Job) -> None:
        """Keeps a new job in its folder. Raises `OSError`."""
        async with self.uploads.turn(job.account):
            self._count(job.id, await self._measure(job))
        job.save(self.folder(job))
        self._enter(job)

    def save(self, job: Job) -> bool:
        """Writes a change of a job; one that a full disk does not take is logged, and counts until the next start.

        A job that was removed meanwhile stays removed. Returns whether it was written.
        """
        if not job.is_open and job.id in self._open:
            self._enter(job)
        if not self._find(job.id):
            return False
        try:
            job.save(self.folder(job))
        except OSError as error:
            log.error("a job could not be written: %s", error, extra={"fields": job.log_fields})
            return False
        return True

    async def clear(self, job: Job) -> None:
        """Removes all files of a job that has ended, but itself and, of a successful one, its result.

        A job that was removed meanwhile stays removed.
        """
        if self._find(job.id):
            await asyncio.to_thread(strip, self.folder(job), job)
            self.save(job)
            use = await self._measure(job)
            if self._find(job.id):
                self._count(job.id, use)

    async def remove(self, job: Job) -> None:
        """Removes a job with its files."""
        self.on_remove(job)
        self.forget(job)
        await self._remove(job.id)

    @contextmanager
    def reading(self, job: Job, reader: Client) -> Iterator[None]:
        """While the block runs, the client reads the job's result. If the job is removed, its connection is closed.

        Else the result would stay on the disk, and count for nobody. Raises `ResultMissing` for a job that was removed.
        """
        if not self._find(job.id):
            raise ResultMissing(GONE)
        readers = self._holders[job.id].readers
        readers.add(reader)
        try:
            yield
        finally:
            readers.discard(reader)

    async def _remove(self, id: str) -> None:
        """Removes the folder of a job or an upload in a turn of its client, and counts it no more."""
        holder = self._holders.get(id, _Holder(""))
        try:
            for reader in holder.readers:
                reader.reason = "removed"
                reader.close()
            async with self.removals.turn(holder.account):
                await asyncio.to_thread(erase, self.root / id)
        finally:
            if id in self._holders:
                self._count(id, Use())
                del self._holders[id]

    async def _measure(self, job: Job) -> Use:
        """What a job has on the disk. In a thread, since it may have tens of thousands of files."""
        use = await asyncio.to_thread(usage, self.folder(job))
        job.bytes = use.bytes
        return use

    async def remove_old(self) -> None:
        """Removes jobs that ended long ago."""
        for job in self.ended_jobs():
            age_s = time.time() - datetime.fromisoformat(job.finished or job.created).timestamp()
            if age_s > self._days * 86_400:
                await self.remove(job)
            elif age_s >= 0:  # else it ended before the clock was put back, and keeps no later one
                break
