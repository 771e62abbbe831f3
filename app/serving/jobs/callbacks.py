"""Tells receivers that jobs have ended, at least once, until they say so or for a day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from app.serving.fair_queue import FairTurns
from app.serving.jobs.job import Job
from app.serving.jobs.store import JobStore
from app.serving.webhook import Address, Webhooks, parse_address

MOST_AT_ONCE = 8  # deliveries, each of another client or to another origin
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 3600.0  # after a try that failed; twice as long after each
MOST_DOUBLINGS = 10  # of the first, which is the longest then
LAST_TRY_S = 86_400.0  # after the end of a job
log = logging.getLogger("segment")


class Callbacks:
    """Sends the state of each job that has ended to the address that its sender gave for it. Only for the event loop.

    A slow receiver holds one delivery of its client and origin. What is not delivered stays in the job's file, so it is tried
    again after a start. document: gives a job's state, as its route answers it.
    """

    def __init__(self, store: JobStore, webhooks: Webhooks, document: Callable[[Job], bytes]) -> None:
        self._store, self._webhooks, self._document = store, webhooks, document
        self._turns, self._tasks, self._is_over = FairTurns(MOST_AT_ONCE), set[asyncio.Task[None]](), False

    def add(self, job: Job) -> None:
        """Tells of a job that has ended, if its sender asked for it. Returns at once."""
        if job.callback and not self._is_over:
            task = asyncio.create_task(self._tell(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends all deliveries; those that were not answered are tried after the next start."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._webhooks.close()

    async def _tell(self, job: Job) -> None:
        while job.callback:
            if job.tries:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(job.tries - 1, MOST_DOUBLINGS)))
            try:
                address = parse_address(job.callback, self._webhooks.origins)
            except ValueError as error:
                self._end(job, f"is not sent: {error}")
                continue
            async with self._turns.turn(f"{job.account} {address.origin}"):
                if not self._store.get(job.id, job.owner):  # it was removed meanwhile
                    return
                await self._try(job, address)

    async def _try(self, job: Job, address: Address) -> None:
        """One delivery. One that failed is counted; one that is over is forgotten."""
        try:
            status = await self._webhooks.send(address, f"job_{job.id}", self._document(job))
            problem = f"{address.origin} answered {status}"
        except OSError as error:
            status, problem = 0, f"{address.origin}: {str(error) or type(error).__name__}"
        end = datetime.fromisoformat(job.finished or job.created).timestamp()
        if 200 <= status < 300:
            self._end(job, "")
        elif status == HTTPStatus.GONE or time.time() > end + LAST_TRY_S:
            self._end(job, f"is not sent again: {problem}")
        else:
            job.tries += 1
            log.warning("a callback failed: %s", problem, extra={"fields": job.log_fields | {"tries": job.tries}})
            self._store.save(job)

    def _end(self, job: Job, problem: str) -> None:
        if problem:
            log.warning("a callback %s", problem, extra={"fields": job.log_fields})
        job.success_uri = job.failed_uri = ""
        self._store.save(job)
