"""Runs jobs: one at a time, by a queue that is fair to clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from app.serving.errors import NotServing, QueueFull, UnknownModel
from app.serving.fair_queue import FairQueue, FairTurns
from app.serving.jobs.job import Job, now
from app.serving.jobs.store import NO_ROOM, JobStore
from app.serving.registry import Model, Registry
from model.inference.errors import NO_SPACE, InferenceError, SchedulerEnded
from model.inference.processes.protocol import REFUSALS

# when a turn is over, if another client's job waits: so many seconds after the first tile or photo of the turn is kept
TURN_S = 20.0
# or, while none is kept, so many seconds after the start of the turn; by whether the job is of a scene; doubled with each crash
LONGEST_START_S = {True: 300.0, False: 900.0}
MOST_PLANS = 2  # scenes that are planned at once, of different clients
MOST_OWN_PLANS = 8  # scenes of one client that are planned or wait for it; each holds a place
CHECK_S = 0.5  # between two looks at what may end a turn
PAUSE_S = 1.0  # until a new try, while the service starts
# a job fails after so many crashes without progress in between. A crash: its process or the service ends while the job is in
# work, or a turn lasts `LONGEST_START_S` and keeps nothing
MOST_CRASHES = 3
CRASHED = "its process or the service ended again and again, or its turns brought nothing new: it needs too much memory or time"
RESTART_S = 10.0  # until the jobs go on after an unexpected error
OLD_S = 600.0  # between two looks at jobs that ended long ago
PAUSE_FACTOR = 20.0  # the pause between two measurements of a job's bytes is so many times as long as the first of them
Tell = Callable[[float], bool]
"""Takes the share of a job that is done, whenever more of it is kept. Returns whether the job's turn goes on."""
Work = Callable[[Job, Path, Model, Tell], Awaitable[Mapping[str, int | str] | None]]
"""Works on a job in its folder with its model until the job's result is written. It can be cancelled.

Returns the number of the job's `images` and of those that `failed`, or the `remark` on a scene; None if the turn ended first.
"""
log = logging.getLogger("segment")


class JobRunner:
    """Runs the jobs of a store, one at a time, and says when scenes are planned. Only for the event loop.

    Clients are charged the seconds of their turns and plans. When a job's turn is over and another client's job waits, the job
    stops, and goes on from there in its next turn. A job of photos stops once the photos in work are done. A scene stops at
    once, also in the midst of a row of tiles.
    work: by whether the job is of a scene. is_ending: whether the service was told to stop; then no job is in work.
    """

    def __init__(
        self, store: JobStore, registry: Registry, work: Mapping[bool, Work], is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        self.store, self._registry, self._work, self._is_ending = store, registry, work, is_ending
        store.end_job = self._fail
        self.on_end: Callable[[Job], None] = lambda job: None  # is called for each job that has ended
        self._queue = FairQueue[Job]()  # all jobs that have not ended
        self._plans = FairTurns(MOST_PLANS)
        self._wake = asyncio.Event()
        self._running: tuple[Job, asyncio.Task[bool]] | None = None
        self._ends_in_order = True
        self._loop: asyncio.Task[None] | None = None
        self._job_of_turn: Job | None = None

    def start(self, pause: float = 0.0) -> None:
        """Runs jobs from now on. pause: seconds before the first one.

        After an unexpected error, the other jobs go on. The job that had the turn waits until the service starts again.
        """
        self._loop = asyncio.create_task(self._run(pause))
        self._loop.add_done_callback(self._restart)

    def _restart(self, loop: asyncio.Task[None]) -> None:
        if loop.cancelled() or not (error := loop.exception()):
            return
        job, self._job_of_turn = self._job_of_turn, None
        if job:
            self._queue.remove(job.account, job)
        fields = job.log_fields if job else {}
        log.error("unexpected error; the other jobs go on in %g s", RESTART_S, exc_info=error, extra={"fields": fields})
        self.start(RESTART_S)

    async def stop(self, *, in_order: bool = True) -> None:
        """Ends the turn of the job in work, which goes on after the next start. in_order: false if the service has failed."""
        self._ends_in_order = in_order
        if self._loop:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        self.store.close()

    @asynccontextmanager
    async def planning(self, client: str) -> AsyncIterator[None]:
        """Waits until a scene of this client may be planned. The block plans it.

        One scene of each client is planned at a time, and `MOST_PLANS` in all. Raises `QueueFull` if the client has
        `MOST_OWN_PLANS` such scenes.
        """
        if self._plans.counts[client] >= MOST_OWN_PLANS:
            raise QueueFull(f"{MOST_OWN_PLANS} scenes of yours wait to be opened, which is the limit", 10)
        async with self._plans.turn(client):
            start = asyncio.get_running_loop().time()
            try:
                yield
            finally:
                self._queue.charge(client, asyncio.get_running_loop().time() - start)

    async def submit(self, job: Job) -> None:
        """Keeps a new job, and runs it in its turn. Raises `OSError`."""
        await self.store.add(job)
        if self.store.is_loaded:  # else `_load` adds it, with the other jobs of the folder
            self._queue.add(job.account, job)
        self._wake.set()

    async def remove(self, job: Job) -> None:
        """Removes a job, once nothing writes into its folder. A job that has not ended is dismissed first."""
        self._end(job, "dismissed", "it was dismissed")
        self.store.forget(job)
        await self._halt(job)
        await self.store.remove(job)

    async def _fail(self, job: Job, message: str) -> None:
        """Ends a job that has not ended, and removes its files."""
        self._end(job, "failed", message)
        await self._halt(job)
        await self.store.clear(job)

    async def _halt(self, job: Job) -> None:
        """Ends the work on a job, if the job is in work."""
        if self._running and self._running[0] is job:
            task = self._running[1]
            task.cancel()
            await asyncio.wait([task])

    async def _load(self) -> None:
        """Reads the jobs of the folder. While the folder cannot be read, logs this and tries again."""
        while not self.store.is_loaded:
            try:
                await self.store.load()
            except OSError as error:
                log.error("the folder of jobs cannot be read: %s", error)
                await asyncio.sleep(PAUSE_S)
        for job in self.store.open_jobs():
            self._queue.add(job.account, job)
            if job.status == "running":
                log.info("job goes on", extra={"fields": job.log_fields})
        for job in self.store.ended_jobs():
            if self.store.get(job.id, job.owner):  # it was not removed meanwhile
                self.on_end(job)
            await asyncio.sleep(0)  # there may be thousands, each of which is written if its origin is no longer named

    async def _run(self, pause: float) -> None:
        await asyncio.sleep(pause)
        if not self.store.is_loaded:
            await self._load()
        while True:
            await self.store.remove_old()
            if not self._is_ending() and (job := self._queue.first):
                start = asyncio.get_running_loop().time()
                self._job_of_turn = job
                await self._turn(job)
                self._job_of_turn = None
                self._queue.charge(job.account, asyncio.get_running_loop().time() - start)
                continue
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), OLD_S)

    async def _turn(self, job: Job) -> None:
        """Works on a job until the job or its turn ends."""
        try:
            with self._registry.using(job.model) as model:
                if model.segmenter.runtime.identity.sha256 == job.sha256:
                    await self._work_on(job, model)
                else:
                    self._end(job, "failed", f"the weights of {job.model} were replaced after it was sent; send it again")
        except NotServing:
            await asyncio.sleep(PAUSE_S)
        except OSError as error:
            log.error("the folder of jobs cannot be used: %s", error)
            await asyncio.sleep(PAUSE_S)
        except UnknownModel:
            self._end(job, "failed", f"the model {job.model} is no longer served; send it again with another")
        if not job.is_open:
            await self.store.clear(job)

    async def _work_on(self, job: Job, model: Model) -> None:
        if job.crashes >= MOST_CRASHES:
            self._end(job, "failed", CRASHED)
            return
        if job.status == "accepted":
            job.status, job.started, job.message = "running", now(), "it is being segmented"
            log.info("job started", extra={"fields": job.log_fields})
        job.crashes += 1  # if the turn ends in order, this is taken back
        self.store.save(job)
        time = asyncio.get_running_loop().time
        start, next_look, has_progress, is_late = time(), time(), False, False
        longest_start_s = LONGEST_START_S[job.is_scene] * 2 ** (job.crashes - 1)  # kept rows may take longer to copy

        def is_over() -> bool:
            return len(self._queue) > 1 and time() >= start + (TURN_S if has_progress else longest_start_s)

        def tell(share: float) -> bool:
            nonlocal has_progress, start
            progress = min(99, int(100 * share))
            # a scene first tells the share that former turns have kept; that is no progress of this turn
            if not has_progress and not (job.is_scene and 0 < progress <= job.progress):
                has_progress, start = True, time()
            if progress > job.progress:
                job.crashes, job.progress = 1, progress
                self.store.save(job)
            return not is_over()

        task = asyncio.create_task(self._outcome(job, model, tell))
        self._running = job, task
        try:
            while not task.done():
                await asyncio.wait([task], timeout=CHECK_S)
                if time() >= next_look and not task.done():
                    begin = time()
                    await self.store.remove_old()  # the turn may last for days
                    if words := await self.store.grow(job):
                        self._end(job, "failed", words)
                    next_look = time() + PAUSE_FACTOR * (time() - begin)
                is_late = is_over() and not has_progress
                has_model = self._registry.models.get(job.model) is model
                if is_late or (is_over() and job.is_scene) or not job.is_open or self._is_ending() or not has_model:
                    break
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._running = None
            has_crashed = not task.cancelled() and task.result()
            if job.is_open and not has_crashed and not is_late and self._ends_in_order:
                job.crashes -= 1
                self.store.save(job)

    async def _outcome(self, job: Job, model: Model, tell: Tell) -> bool:
        """Works on the job, and ends it with the outcome of the work. Returns whether the job's process or the network crashed.

        After a crash of its process, or the end of the network, the job goes on in its next turn; it ends after the last one of
        `MOST_CRASHES`.
        """
        try:
            counts = await self._work[job.is_scene](job, self.store.folder(job), model, tell)
            if words := await self.store.grow(job):
                self._end(job, "failed", words)
        except REFUSALS as error:
            self._end(job, "failed", str(error))
        except InferenceError as error:
            log.warning("a job waits: %s", error, extra={"fields": job.log_fields})
            await asyncio.sleep(PAUSE_S)
            return isinstance(error, SchedulerEnded) and error.is_failure
        except (ConnectionError, TimeoutError) as error:  # its process ended, or is stuck
            log.warning("a job's process ended: %s", error, extra={"fields": job.log_fields})
            if job.crashes >= MOST_CRASHES:
                self._end(job, "failed", CRASHED)
            return True
        except Exception as error:  # an unexpected error of one job must not end the others
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                self._end(job, "failed", NO_ROOM)
                return False
            log.error("unexpected error", exc_info=error, extra={"fields": job.log_fields})
            self._end(job, "failed", f"the service failed; its log has the job's id, {job.id}")
        else:
            if counts is None:
                return False
            message = "its result is ready"
            if remark := counts.get("remark"):
                message = f"{message}; {remark}"
            if failures := counts.get("failed"):
                message = f"{failures} of {counts['images']} photos failed; the result says why for each"
            self._end(job, "successful", message, counts)
        return False

    def _end(self, job: Job, status: str, message: str, counts: Mapping[str, int | str] | None = None) -> None:
        """Ends a job, unless it has ended. counts: what `Work` returned."""
        if not job.is_open:
            return
        self._queue.remove(job.account, job)
        job.status, job.message, job.finished = status, message, now()  # type: ignore[assignment]
        job.progress = 100 if status == "successful" else job.progress
        self.store.save(job)
        seconds = (datetime.fromisoformat(job.finished) - datetime.fromisoformat(job.started or job.finished)).total_seconds()
        facts = {"status": status, "seconds": seconds, **(counts or {}), "detail": message}
        log.info("job ended", extra={"fields": job.log_fields | facts})
        self.on_end(job)
