"""The work on one image: a worker plans, decodes and encodes it, and the network runs its tiles in between."""

from __future__ import annotations

from concurrent.futures import Future

from model.inference.merging import Logits
from model.inference.processes.protocol import MOST_BYTES, Answer, Grant, Image, WorkerPlan
from model.inference.processes.worker import Worker
from model.inference.processes.workers import Workers
from model.inference.runtime import Tile
from model.inference.scheduler import Scheduler
from model.inference.tile_queue import TileQueue


class Work:
    """The work on an image. Only for the event loop of `workers`. `run` it once.

    runtime: a pickled `DistantRuntime` of the scheduler's runtimes. deadline: on the scheduler's clock; no tile is run later.
    This class has no limits. A subclass decides what the image may take and when: in `_grant`, `_admit` and `_wait`.
    """

    def __init__(self, image: Image, *, workers: Workers, scheduler: Scheduler, runtime: bytes, deadline: float) -> None:
        self._image, self._workers, self._scheduler, self._runtime = image, workers, scheduler, runtime
        self._queue = TileQueue(deadline)

    async def run(self) -> Answer:
        """Plans the image and works on it in the same worker. Closes the image's body; the caller closes the answer's.

        If the work has to wait, the worker is released meanwhile; then another worker plans the image again.
        Raises `WorkersStopped`, the errors of a `Worker`, and those of the subclass.
        """
        deadline = self._queue.deadline
        try:
            async with self._workers.claim(deadline) as worker:
                plan = await self._plan(worker, self._grant())
                try:
                    may_begin = self._admit(plan)
                except Exception:
                    await worker.drop()
                    raise
                if may_begin:
                    return await self._finish(worker, plan)
                await worker.drop()
            grant = await self._wait(plan)
            async with self._workers.claim(deadline) as worker:
                return await self._finish(worker, await self._plan(worker, grant))
        finally:
            self._image.body.close()
            self._scheduler.cancel(self._queue)

    def _grant(self) -> Grant:
        """What the image may take before its plan has arrived."""
        return Grant(MOST_BYTES)

    def _admit(self, plan: WorkerPlan) -> bool:
        """Whether the planned image may begin now; if not, `_wait` is called next. Raises if it must not begin at all."""
        return True

    async def _wait(self, plan: WorkerPlan) -> Grant:
        """Waits until the image may begin. Returns what it may take."""
        raise NotImplementedError("`_admit` has admitted every image")

    async def _plan(self, worker: Worker, grant: Grant) -> WorkerPlan:
        return await worker.plan(self._image, self._runtime, self._scheduler.ahead, grant)

    async def _finish(self, worker: Worker, plan: WorkerPlan) -> Answer:
        """Works on the planned image, which may begin."""
        self._image.body.close()  # the worker has its own copy
        return await worker.work(plan.bytes, self._submit, self._count_tile)

    def _submit(self, tile: Tile) -> Future[Logits]:
        return self._scheduler.submit(self._queue, tile)

    def _count_tile(self, tile: Future[Logits]) -> None:
        """Is called once a submitted tile is done or cancelled."""
