"""Tells receivers that jobs have ended, at least once, until they say so or for a day."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from app.serving.fair_queue import FairTurns
from app.serving.jobs.job import Job
from app.serving.jobs.runner import JobRunner
from app.serving.webhook import Address, Webhooks, parse_address

MOST_AT_ONCE = 8  # deliveries to an origin, each of another client
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 3600.0  # after a try that failed; twice as long after each
FAILED_S = 1.0  # that a try which failed takes longer, so that thousands at once leave the event loop and the log to others
MOST_DOUBLINGS = 10  # of the first, which is the longest then
MOST_TRIES = 34  # with these pauses a day; no clock is asked, which may be set
log = logging.getLogger("segment")


class Callbacks:
    """Sends the state of each job that has ended to the address that its sender gave for it. Only for the event loop.

    A slow receiver holds deliveries to its own origin alone, and of each client one. What is not delivered stays in the job's
    file, so it is tried again after a start. document: gives a job's state, as its route answers it.
    """

    def __init__(self, jobs: JobRunner, webhooks: Webhooks, document: Callable[[Job], bytes]) -> None:
        self._store, self._webhooks, self._document = jobs.store, webhooks, document
        self._turns = {origin: FairTurns(MOST_AT_ONCE) for origin in webhooks.origins}
        self._tasks, self._is_over = dict[str, asyncio.Task[None]](), False
        jobs.on_end, self._store.on_remove = self.add, self._drop

    def add(self, job: Job) -> None:
        """Tells of a job that has ended, if its sender asked for it. Returns at once."""
        if job.callback and not self._is_over:
            self._tasks[job.id] = task = asyncio.create_task(self._tell(job))
            task.add_done_callback(lambda _: self._tasks.pop(job.id))

    def _drop(self, job: Job) -> None:
        """Tells nobody of a job that is removed, also if a call is under way."""
        if task := self._tasks.get(job.id):
            task.cancel()

    async def stop(self) -> None:
        """Ends all deliveries; those that were not answered are tried after the next start."""
        self._is_over = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._webhooks.close()

    async def _tell(self, job: Job) -> None:
        while job.callback:
            if job.tries:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(job.tries - 1, MOST_DOUBLINGS)))
            try:
                address = parse_address(job.callback, self._webhooks.origins)
            except ValueError as error:
                self._end(job, f"is not sent: {error}")
            else:
                async with self._turns[address.origin].turn(job.account):
                    await self._try(job, address)

    async def _try(self, job: Job, address: Address) -> None:
        """One delivery, counted in advance. One that is over is forgotten."""
        job.tries += 1
        if not self._store.save(job):  # after a start the job could end in another way
            return
        try:
            status = await self._webhooks.send(address, f"job_{job.id}", self._document(job))
            problem = f"{address.origin} answered {status}"
        except OSError as error:
            status, problem = 0, f"{address.origin}: {str(error) or type(error).__name__}"
        if 200 <= status < 300:
            self._end(job, "")
        elif status == HTTPStatus.GONE or job.tries >= MOST_TRIES:
            self._end(job, f"is not sent again: {problem}")
        else:
            log.warning("a callback failed: %s", problem, extra={"fields": job.log_fields | {"tries": job.tries}})
            await asyncio.sleep(FAILED_S)

    def _end(self, job: Job, problem: str) -> None:
        if problem:
            log.warning("a callback %s", problem, extra={"fields": job.log_fields})
        job.success_uri = job.failed_uri = ""
        self._store.save(job)
