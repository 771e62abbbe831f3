"""A pool of worker processes: starts them as they are needed, lends each to one image at a time, replaces those that end.

All of it runs on the event loop and needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from model.inference.cores import available_cores
from model.inference.errors import WorkersStopped
from model.inference.processes.confinement import IS_LINUX, landlock_version
from model.inference.processes.forkserver import ForkedProcess, ForkServer
from model.inference.processes.frames import FrameChannel
from model.inference.processes.limits import ENFORCES_LIMITS
from model.inference.processes.messages import parse_error, parse_head
from model.inference.processes.worker import DeathReason, Worker

MOST_WORKERS = 64  # more than one event loop can supply with images
START_S = 30.0  # longest time without any worker
ATTEMPT_S = START_S / 2  # longest time for one attempt to start a worker
# before a worker is replaced, from the second death in a row that the pool did not cause
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
BUFFER_BYTES = 1 << 20  # send buffer of a socket
RETRY_S = 1.0  # between two attempts to start a worker
EARLY_S = 0.002  # a timer of uvloop counts in milliseconds, and may end this long before its time
BY_ITSELF = ("processor_time", "crash", "killed", "no_answer")  # reasons of deaths that this class did not cause
log = logging.getLogger("segment")


def worker_count() -> int:
    """The default number of workers: two more than the cores, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, available_cores() + 2)


class Workers:
    """Up to `count` worker processes, started as they are needed. For the event loop that called `start`.

    count: 0 for `worker_count()`. on_death: called with the reason when a worker ends.
    on_failure: called with a message when no worker runs and none could be started for `START_S` seconds. Workers are forked
    from a process that has imported their modules. If it ends, or does not answer, all workers are replaced with it.
    """

    def __init__(
        self,
        count: int = 0,
        *,
        on_death: Callable[[DeathReason], None] = lambda _: None,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.count = count or worker_count()
        self._on_death, self._on_failure = on_death, on_failure
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._starts: set[asyncio.Task[Any]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._pausing = 0
        self._deaths_in_a_row = 0
        self._failing_since: float | None = None
        self._is_stopped = False
        self._forkserver: ForkServer | None = None
        if not ENFORCES_LIMITS:
            log.warning("this system keeps no limits on the memory of workers: images are bounded by their deadline alone")
        if IS_LINUX and not landlock_version():
            log.info("this system has no Landlock: workers may read what the user of this process may read")

    async def start(self) -> None:
        """Returns once the first worker has started."""
        async with self.claim():
            pass

    async def stop(self) -> None:
        """Kills the workers. Pending calls of `claim` raise `WorkersStopped`."""
        self._is_stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(WorkersStopped("the workers were stopped"))
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
        """An idle worker; else starts one, if fewer than `count` exist, and waits for the next one that is free."""
        if self._is_stopped:
            raise WorkersStopped("the workers were stopped")
        while self._idle:
            worker = self._idle.pop()
            if not worker.has_ended:
                return worker
            worker.note_end()
            self._end(worker)
        if len(self._workers) + len(self._starts) < self.count:
            self._schedule_start()
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self._release(future.result())
            raise

    def _release(self, worker: Worker) -> None:
        """Hands an idle worker to the next waiting claim. Ends it where it is dead or worn."""
        if worker.idle and worker.death is None:
            if worker.has_ended:
                worker.note_end()
            elif worker.is_worn:
                worker.kill("grown")
        if worker.death is not None:
            self._end(worker)
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(worker)
                return
        self._idle.append(worker)

    def _end(self, worker: Worker) -> None:
        """Removes a dead worker, reports its death and starts a replacement."""
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._await_end(worker.reap())
        if self._is_stopped or worker.death is None:
            return
        self._on_death(worker.death)
        pause = 0.0
        if worker.death in BY_ITSELF:
            worker.log_death()
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > 1 and self._pausing < self.count // 2:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._deaths_in_a_row - 2))
        self._schedule_start(pause)

    def _schedule_start(self, pause: float = 0.0) -> None:
        start = asyncio.create_task(self._start_worker(pause))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)

    async def _start_worker(self, pause: float) -> None:
        """Starts a worker after the pause, and retries until it succeeds."""
        self._pausing += pause > 0
        try:
            await asyncio.sleep(pause)
        finally:
            self._pausing -= pause > 0
        clock = asyncio.get_running_loop().time
        while True:
            start = clock()
            try:
                worker = await self._new()
                break
            except OSError as error:
                self._failing_since = self._failing_since or start
                reason = str(error) or type(error).__name__
                log.error("a worker could not be started: %s", reason)
                if clock() - self._failing_since >= START_S and not self._workers:
                    self._on_failure(f"no worker could be started for {START_S:g} s: {reason}")
                await asyncio.sleep(RETRY_S)
        self._failing_since = None
        if task := asyncio.current_task():
            self._starts.discard(task)  # before whoever gets the worker counts those that are being started
        self._workers.add(worker)
        self._release(worker)

    async def _new(self) -> Worker:
        """Forks a process and returns once it has sent its `ready` frame. Raises `OSError`."""
        forkserver = self._running_forkserver()
        channel, other = socket.socketpair()
        channel.setblocking(False)
        frames = FrameChannel(channel)
        process: ForkedProcess | None = None
        try:
            with other:  # the worker then holds the only copy, so its death is an end of file here
                for end in (channel, other):  # a tile is about 0.75 MB; the system may grant a smaller buffer
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                await frames.open()
                async with asyncio.timeout(ATTEMPT_S):
                    process = await forkserver.fork(other)
            async with asyncio.timeout(ATTEMPT_S):
                head = parse_head((await frames.receive())[0])
            if head["kind"] != "ready":
                raise OSError(parse_error(head)[1])
            if forkserver.has_ended:
                raise ConnectionError("the process that forks workers has ended")
            return Worker(process, frames)
        except BaseException as error:
            if process:
                process.kill()
            await frames.close()
            if isinstance(error, TimeoutError):
                if not process:
                    forkserver.end()
                raise TimeoutError(f"no answer within {ATTEMPT_S:g} s") from error
            raise

    def _running_forkserver(self) -> ForkServer:
        """The process that forks workers; starts another one where it has ended. Raises `OSError`."""
        if self._forkserver is None or self._forkserver.has_ended:
            self._forkserver = forkserver = ForkServer(lambda: self._replace_workers(forkserver))
        return self._forkserver

    def _replace_workers(self, forkserver: ForkServer) -> None:
        """Replaces all workers, because the process that has forked them has ended."""
        if self._is_stopped:
            return
        log.error("the process that forks workers ended or did not answer: it is replaced, and all workers with it")
        self._await_end(forkserver.close())
        for worker in list(self._workers):
            worker.kill("replaced")
            if worker.idle:
                self._end(worker)

    def _await_end(self, end: Coroutine[Any, Any, None]) -> None:
        """Runs the end of a process beside other work. `stop` waits for it."""
        task = asyncio.create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
