"""The table of jobs: which there are, whose they are, and how many of a client have ended. No call walks all of them."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import Counter
from datetime import datetime

from app.serving.jobs.job import STATUSES, Job
from app.serving.jobs.shares import Ranking


class _Account:
    """The jobs of a client: all, the oldest first; and those that have ended, the first that ended first."""

    def __init__(self) -> None:
        self.all, self.ended = list[Job](), dict[str, Job]()


class JobTable:
    """Jobs, which stand in it by their status. Only for the event loop, but for `counts` and `longest_wait`."""

    def __init__(self) -> None:
        self._open, self._ended = dict[str, Job](), dict[str, Job]()  # the oldest first; the first that ended first
        self._accounts, self._ended_counts = dict[str, _Account](), Ranking()  # by account

    def open_jobs(self) -> list[Job]:
        """The jobs that have not ended, the oldest first."""
        return list(self._open.values())

    def ended_jobs(self) -> list[Job]:
        """The jobs that have ended, the first that ended first."""
        return list(self._ended.values())

    def page(self, owner: str, offset: int, limit: int) -> tuple[list[Job], int]:
        """So many of the jobs of an owner, the newest first, behind the first `offset`; and how many it has."""
        jobs = self._accounts[owner].all if owner in self._accounts else []
        end = max(0, len(jobs) - offset)
        return jobs[max(0, end - limit) : end][::-1], len(jobs)

    def get(self, id: str, owner: str) -> Job | None:
        """The job of this id; None if there is none, or if it belongs to another owner."""
        job = self._find(id)
        return job if job and job.owner == owner else None

    def forget(self, job: Job) -> None:
        """A job is no longer there; its files are until they are removed."""
        if self._open.pop(job.id, None) or self._ended.pop(job.id, None):
            account = self._accounts[job.account]
            del account.all[bisect_left(account.all, _age(job), key=_age)]
            if account.ended.pop(job.id, None):
                self._ended_counts.add(job.account, -1)
            if not account.all:
                del self._accounts[job.account]

    def counts(self) -> dict[str, int]:
        """How many jobs have each status. Any thread may call it, as the next one."""
        counts = Counter(job.status for job in [*list(self._open.values()), *list(self._ended.values())])
        return {status: counts[status] for status in STATUSES}

    def longest_wait(self) -> float:
        """Seconds since the oldest job that waits was accepted; 0 if none waits, or if the clock was put back."""
        waiting = [job.created for job in list(self._open.values()) if job.status == "accepted"]
        return max(0.0, time.time() - datetime.fromisoformat(min(waiting)).timestamp()) if waiting else 0.0

    def _find(self, id: str) -> Job | None:
        return self._open.get(id) or self._ended.get(id)

    def _enter(self, job: Job) -> None:
        """Puts in a job, or one that has ended meanwhile to those that have."""
        self.forget(job)
        account = self._accounts.setdefault(job.account, _Account())
        insort(account.all, job, key=_age)
        if job.is_open:
            self._open[job.id] = job
        else:
            self._ended[job.id] = account.ended[job.id] = job
            self._ended_counts.add(job.account, 1)

    def _open_count(self, account: str) -> int:
        own = self._accounts.get(account, _Account())
        return len(own.all) - len(own.ended)

    def _first_ended(self, asker: str, *, is_own: bool) -> Job | None:
        """The ended job that makes room for a place: the first of the client with most ended jobs.

        is_own: the asker's share is the limit. Then it is the first of its own. If it has none that have ended, it is that of
        the client with most, if those are more than all jobs of the asker; else None.
        """
        most, name = next(self._ended_counts.most(), (0, asker))
        own = self._accounts.get(asker, _Account())
        if is_own and own.ended:
            name = asker
        elif is_own and most <= len(own.all):
            return None
        return next(iter(self._accounts[name].ended.values()), None) if most else None


def _age(job: Job) -> tuple[str, str]:
    return job.created, job.id
