"""A pool of worker processes: starts them as they are needed, lends each to one image at a time, replaces those that end.

All of it runs on the event loop and needs no lock between threads.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from model.inference.cores import available_cores
from model.inference.errors import WorkersStopped
from model.inference.processes.confinement import IS_LINUX, landlock_version
from model.inference.processes.conversation import Conversation, FrameChannel
from model.inference.processes.forkserver import ForkedProcess, ForkServer
from model.inference.processes.worker import DeathReason, Worker

MOST_WORKERS = 64  # more than one event loop can supply with images
START_S = 30.0  # longest time without any worker
ATTEMPT_S = START_S / 2  # longest time for one attempt to start a worker
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0  # before a replacement, from the second death in a row that the pool did not cause
BUFFER_BYTES = 1 << 20  # send buffer of a socket
RETRY_S = 1.0  # between two attempts to start a worker
EARLY_S = 0.002  # a timer of uvloop counts in milliseconds, and may end this long before its time
BY_ITSELF = ("processor_time", "crash", "killed", "no_answer")  # reasons of deaths that this class did not cause
log = logging.getLogger("segment")


def worker_count() -> int:
    """The number of workers of a service: two more than the cores, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, available_cores() + 2)


class Workers:
    """Up to `count` worker processes, started as they are needed. For the event loop that called `start`.

    on_death: called with the reason when a worker ends.
    on_failure: called with a message when no worker runs and none could be started for `START_S` seconds. Workers are forked
    from a process that has imported their modules. If it ends, or does not answer, all workers are replaced with it.
    """

    def __init__(
        self, count: int, on_failure: Callable[[str], None], on_death: Callable[[DeathReason], None] = lambda _: None
    ) -> None:
        self.count = count
        self._on_death, self._on_failure = on_death, on_failure
        self._workers: set[Worker] = set()
        self._total = 0  # workers that run or are being started
        self._idle: asyncio.LifoQueue[Worker | None] = asyncio.LifoQueue()  # None: the workers were stopped
        self._claim_lock = asyncio.Lock()  # of who waits for a worker
        self._starts: set[asyncio.Task[object]] = set()
        self._ends: set[asyncio.Task[object]] = set()
        self._pauses = self._deaths_in_a_row = 0
        self._is_stopped, self._reason = False, ""
        self._forkserver: ForkServer | None = None

    async def start(self) -> None:
        """Returns once the first worker has started."""
        if not IS_LINUX:
            log.warning("this system keeps no limits on the memory of workers: images are bounded by their deadline alone")
        elif not landlock_version():
            log.info("this system has no Landlock: workers may read what the user of this process may read")
        async with self.claim():
            pass

    async def stop(self, reason: str = "the workers were stopped") -> None:
        """Kills the workers. Pending and later calls of `claim` raise `WorkersStopped` with the reason."""
        self._is_stopped, self._reason = True, reason
        self._idle.put_nowait(None)
        for start in self._starts:
            start.cancel()
        for worker in list(self._workers):
            worker.kill("cancelled")
            self._end(worker)
        if self._forkserver:
            await self._forkserver.close()
        await asyncio.gather(*self._starts, *self._ends, return_exceptions=True)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    @asynccontextmanager
    async def claim(self, deadline: float = inf) -> AsyncIterator[Worker]:
        """A worker for one image, in order of the calls. Raises `WorkersStopped`.

        A worker that is still busy when the block ends is killed. deadline: on the event loop's clock; from then on the
        reason of such a kill is `deadline` instead of `cancelled`.
        """
        worker = await self._next()
        try:
            yield worker
        finally:
            if not worker.idle and worker.death is None:
                worker.kill("deadline" if asyncio.get_running_loop().time() >= deadline - EARLY_S else "cancelled")
            if worker.death is None:
                self._deaths_in_a_row = 0
            self._release(worker)

    async def _next(self) -> Worker:
        """The next idle worker. Starts one, if none is idle or others wait, and fewer than `count` exist."""
        if self._total < self.count and (self._idle.empty() or self._claim_lock.locked()):
            self._total += 1
            self._run(self._start_worker(), self._starts)
        async with self._claim_lock:
            while worker := await self._idle.get():
                if worker.is_fit():
                    return worker
                self._end(worker)
            self._idle.put_nowait(None)
            raise WorkersStopped(self._reason)

    def _release(self, worker: Worker) -> None:
        """Lets the next claim have an idle worker. Ends it where it is dead or should be replaced."""
        if worker.is_fit():
            self._idle.put_nowait(worker)
        else:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        """Removes a dead worker, reports its death and starts a replacement."""
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        self._run(worker.reap(), self._ends)
        if self._is_stopped or worker.death is None:
            return
        self._on_death(worker.death)
        pause = 0.0
        if worker.death in BY_ITSELF:
            worker.log_death()
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > 1 and self._pauses < self.count // 2:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._deaths_in_a_row - 2))
        self._run(self._start_worker(pause), self._starts)

    async def _start_worker(self, pause: float = 0.0) -> None:
        """Starts a worker after the pause, and retries until it succeeds."""
        self._pauses += pause > 0
        await asyncio.sleep(pause)
        self._pauses -= pause > 0
        clock, seconds = asyncio.get_running_loop().time, 0.0
        while True:
            start = clock()
            try:
                worker = await self._new()
                break
            except OSError as error:
                reason = str(error) or f"no answer within {ATTEMPT_S:g} s"  # a `TimeoutError` has no text
                log.error("a worker could not be started: %s", reason)
                # the rest of a longer attempt is time in which this process was paused, or kept from its event loop
                seconds = 0.0 if self._workers else seconds + min(clock() - start, ATTEMPT_S) + RETRY_S
                if seconds >= START_S:
                    self._on_failure(f"no worker could be started for {START_S:g} s: {reason}")
                await asyncio.sleep(RETRY_S)
        self._workers.add(worker)
        self._release(worker)

    async def _new(self) -> Worker:
        """Forks a process and returns once it has sent its `ready` frame. Raises `OSError`."""
        if self._forkserver is None or self._forkserver.has_ended:
            self._forkserver = ForkServer(self._replace_workers)
        forkserver = self._forkserver
        channel, other = socket.socketpair()
        frames = FrameChannel(channel)
        process: ForkedProcess | None = None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                with other:  # the worker then holds the only copy, so its death is an end of file here
                    for end in (channel, other):  # a tile is about 0.75 MB; the system may grant a smaller buffer
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                    process = await forkserver.fork(other)
                await Conversation(frames).receive("ready")
            return Worker(process, frames)
        except BaseException as error:
            if process:
                self._run(process.wait(), self._ends)
            elif isinstance(error, TimeoutError):
                forkserver.end()
            frames.close()
            raise

    def _replace_workers(self, forkserver: ForkServer) -> None:
        """Replaces all workers, because the process that has forked them has ended."""
        if self._is_stopped:
            return
        log.error("the process that forks workers ended or did not answer: it is replaced, and all workers with it")
        self._run(forkserver.close(), self._ends)
        for worker in list(self._workers):
            worker.kill("replaced")
            if worker.idle:
                self._end(worker)

    @staticmethod
    def _run(work: Coroutine[Any, Any, object], tasks: set[asyncio.Task[object]]) -> None:
        """Runs the start or the end of a process beside other work. `stop` waits for it."""
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
