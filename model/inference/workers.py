"""Up to so many worker processes: started as they are needed, claimed for an image each, and replaced where they end.

The system calls of a start block, so they run on a thread; all else runs on the event loop, and no lock is needed.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from model.inference.cores import available_cores
from model.inference.errors import WorkersStopped
from model.inference.frames import FrameChannel
from model.inference.worker import PROCESSES, DeathReason, Worker
from model.inference.worker_main import LIMITED, serve

MOST_WORKERS = 16
START_S = 30.0  # within which a worker must have started
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0  # before a worker that has ended by itself is replaced, several times in a row
BUFFER_BYTES = 1 << 20  # of a socket
RETRY_S = 1.0  # between two tries to start a worker
PRELOADED = ["model.inference.one_thread", "model.inference.worker_main"]
BY_ITSELF = ("processor_time", "crash", "killed")
log = logging.getLogger("segment")


class Workers:
    """Up to `count` worker processes, started as they are needed. For the event loop in which `start` was called.

    `on_death` hears of each that ended, and `on_failure` where none could be started for `START_S` seconds. They are forked
    from a process that has imported what they need, where the system has that (Linux, macOS); elsewhere each is started anew.
    """

    def __init__(
        self,
        count: int = 0,
        *,
        on_death: Callable[[DeathReason], None] = lambda _: None,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.count = count or min(MOST_WORKERS, available_cores() + 2)
        self._on_death, self._on_failure = on_death, on_failure
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._starts: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._pausing = 0
        self._deaths_in_a_row = 0
        self._failing_since: float | None = None
        self._stopped = False
        self._context = _context()
        if not LIMITED:
            log.warning("this system keeps no limits on the memory of workers: images are bounded by their deadline alone")

    async def start(self) -> None:
        """Returns once the first worker is there."""
        async with self.claim():
            pass

    async def stop(self) -> None:
        """Kills the workers; whoever waits for one gets `WorkersStopped`."""
        self._stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(WorkersStopped("the workers were stopped"))
        for start in self._starts:
            start.cancel()
        for worker in list(self._workers):
            worker.kill("cancelled")
            self._end(worker)
        await asyncio.gather(*self._starts, *self._ends, return_exceptions=True)

    @property
    def pids(self) -> list[int]:
        """Of the workers' processes."""
        return [worker.process.pid for worker in self._workers if worker.process.pid]

    @asynccontextmanager
    async def claim(self, deadline: float = inf) -> AsyncIterator[Worker]:
        """A worker for one image, in order of arrival. It is killed where its work is given up; raises `WorkersStopped`.

        deadline: on the loop's clock, to tell a kill for it from others.
        """
        worker = await self._next()
        try:
            yield worker
        finally:
            if not worker.idle and worker.death is None:
                worker.kill("deadline" if asyncio.get_running_loop().time() >= deadline else "cancelled")
            if worker.death is None:
                self._deaths_in_a_row = 0
            self._release(worker)

    async def _next(self) -> Worker:
        if self._stopped:
            raise WorkersStopped("the workers were stopped")
        while self._idle:
            worker = self._idle.pop()
            if not worker.ended:
                return worker
            worker.death = worker.death or "killed"
            self._end(worker)
        if len(self._workers) + len(self._starts) < self.count:
            self._start()
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self._release(future.result())
            raise

    def _release(self, worker: Worker) -> None:
        if worker.idle and worker.death is None and worker.worn:
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
        """Takes a worker's death in, and replaces it."""
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        end = asyncio.create_task(worker.reap())
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)
        if self._stopped or worker.death is None:
            return
        self._on_death(worker.death)
        pause = 0.0
        if worker.death in BY_ITSELF:
            worker.log_death()
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > 1 and self._pausing < self.count // 2:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._deaths_in_a_row - 2))
        self._start(pause)

    def _start(self, pause: float = 0.0) -> None:
        start = asyncio.create_task(self._started(pause))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)

    async def _started(self, pause: float) -> None:
        """Starts a worker, again and again until there is one."""
        self._pausing += pause > 0
        try:
            await asyncio.sleep(pause)
        finally:
            self._pausing -= pause > 0
        while True:
            try:
                worker = await self._new()
                break
            except (OSError, EOFError, RuntimeError) as error:  # the latter for a thread that cannot be started
                now = asyncio.get_running_loop().time()
                self._failing_since = self._failing_since or now
                log.error("a worker could not be started: %s", error or type(error).__name__)
                if now - self._failing_since >= START_S and not self._workers:
                    self._on_failure(f"no worker could be started for {START_S:g} s: {error or type(error).__name__}")
                await asyncio.sleep(RETRY_S)
        self._failing_since = None
        self._workers.add(worker)
        self._release(worker)

    async def _new(self) -> Worker:
        """A worker that has said that it is ready."""
        channel, other = socket.socketpair()
        channel.setblocking(False)
        frames = FrameChannel(channel)
        try:
            try:
                for end in (channel, other):  # a tile takes half a megabyte; the system bounds this
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                await frames.open()
                process = self._context.Process(target=serve, args=(other,), name="fcn-segment worker", daemon=True)
                await asyncio.to_thread(_start, process)
            finally:
                other.close()  # so that the worker's death is an end of file
            async with asyncio.timeout(START_S):
                await frames.receive()
            return Worker(process, frames)
        except BaseException:
            await frames.close()
            raise


def _start(process: BaseProcess) -> None:
    with PROCESSES:
        process.start()


def _context() -> ForkServerContext | SpawnContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
