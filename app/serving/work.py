"""The work on one job: a worker plans, decodes and encodes its image, and the network runs its tiles in between."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future

from app.serving.admission import Admission
from app.serving.budget import GRANTED_BYTES, Budget
from app.serving.job import LARGE_MEGAPIXELS, Answer, Job, kind_of
from app.serving.rates import Stopwatch
from app.serving.registry import Model
from imaging.rendering import Rendering
from model.inference.merging import Logits
from model.inference.processes.messages import WorkerPlan
from model.inference.processes.worker import Worker
from model.inference.processes.worker_main import NO_GRANT, Grant
from model.inference.processes.workers import Workers
from model.inference.runtime import Tile
from model.inference.scheduler import TileQueue

CALM_SHARE = 0.5  # of the queue; while more is queued, an image may well be refused, and none is begun before it is admitted


class Work:
    """The work on a job with a model. Only for the event loop. `run` it once.

    planning: limits how many images are planned at once. memory_setting: what the operator can raise, for errors.
    """

    def __init__(
        self,
        job: Job,
        model: Model,
        deadline: float,
        *,
        workers: Workers,
        budget: Budget,
        admission: Admission,
        planning: asyncio.Semaphore,
        memory_setting: str,
    ) -> None:
        self._job, self._model = job, model
        self._workers, self._budget, self._admission, self._planning = workers, budget, admission, planning
        self._memory_setting = memory_setting
        self._queue = TileQueue(deadline)
        self._in_network = Stopwatch(time.monotonic)
        self._admission_time = 0.0

    async def run(self) -> Answer:
        """Plans the image and works on it in the same worker. Raises what `Service.segment` does.

        If the work has to wait for memory, the worker is released meanwhile; then another worker plans the image again.
        """
        memory, deadline = self._job.reservation.memory, self._queue.deadline
        try:
            async with self._workers.claim(deadline) as worker:
                plan = await self._plan(worker, self._grant())
                try:
                    has_started = self._admit(plan)
                except Exception:
                    await worker.drop()
                    raise
                if has_started:
                    return await self._finish(worker, plan)
                await worker.drop()
            needed_bytes, large = self._needed_bytes(plan), kind_of(self._job, plan).large
            self._budget.hold_body(memory, self._job.image.body.length)
            await self._budget.start(memory, needed_bytes, large=large)
            async with self._workers.claim(deadline) as worker:
                return await self._finish(worker, await self._plan(worker, self._grant_of(needed_bytes)))
        finally:
            self._model.scheduler.cancel(self._queue)

    def _grant(self) -> Grant:
        """What a small image may take before its plan has arrived, if there is room for it now."""
        admission, memory = self._admission, self._job.reservation.memory
        is_calm = admission.queued_tiles <= CALM_SHARE * admission.max_queued_tiles
        if is_calm and self._budget.start_now(memory, GRANTED_BYTES, large=False):
            return self._grant_of(GRANTED_BYTES, LARGE_MEGAPIXELS)
        return NO_GRANT

    def _grant_of(self, count: int, megapixels: float = float("inf")) -> Grant:
        return Grant(max(0, count - self._job.image.body.length), megapixels)

    def _needed_bytes(self, plan: WorkerPlan) -> int:
        return plan.bytes + self._job.image.body.length

    async def _plan(self, worker: Worker, grant: Grant) -> WorkerPlan:
        async with self._planning:
            return await worker.plan(self._job.image, self._model.description, self._model.scheduler.ahead, grant)

    def _admit(self, plan: WorkerPlan) -> bool:
        """Checks the planned image, and says whether its work has its bytes; if not, it must wait for them."""
        job, kind, needed_bytes = self._job, kind_of(self._job, plan), self._needed_bytes(plan)
        job.check(self._model, plan)
        self._budget.check(needed_bytes, lambda: self._memory_advice(plan))
        self._admission.admit(job.reservation, plan.tile_count, self._queue.deadline, kind, plan.megapixels)
        self._admission_time = time.monotonic()
        return self._budget.start_now(job.reservation.memory, needed_bytes, large=kind.large)

    async def _finish(self, worker: Worker, plan: WorkerPlan) -> Answer:
        """Works on the planned image, which has its bytes."""
        job, queue, memory = self._job, self._queue, self._job.reservation.memory
        # the worker has its own copy
        job.image.body.close()
        self._budget.hold_body(memory, 0)
        began = time.monotonic()
        answer = await worker.work(plan.bytes, self._submit, self._count_tile)
        own_seconds = time.monotonic() - began - self._in_network.seconds
        self._admission.worker_seconds.learn(kind_of(job, plan), plan.megapixels, own_seconds)
        self._budget.hold_answer(memory, answer.body.length)
        seconds = answer.seconds | {
            "queue": began - self._admission_time + queue.queue_seconds,
            "inference": answer.seconds["inference"] - queue.queue_seconds,
        }
        names = self._model.segmenter.manifest.labels.names
        return Answer(
            body=answer.body,
            encoding=answer.encoding,
            size=plan.size,
            seconds=seconds,
            model=self._model.name,
            class_pixels=dict(zip(names, answer.counts, strict=False)),  # a hostile worker may send more counts than classes
            mean_confidence=answer.mean_confidence,
        )

    def _submit(self, tile: Tile) -> Future[Logits]:
        self._in_network.begin()
        self._admission.tile_rate.begin()
        return self._model.scheduler.submit(self._queue, tile)

    def _count_tile(self, tile: Future[Logits]) -> None:
        is_done = not tile.cancelled() and not tile.exception()
        self._in_network.end()
        self._admission.tile_rate.end(is_done=is_done)
        if is_done:
            self._admission.count_tile(self._job.reservation)

    def _memory_advice(self, plan: WorkerPlan) -> str:
        """What a client or the operator can do about an image that takes too much memory."""
        options, classes, mask = self._job.image.options, len(self._model.segmenter.manifest.labels), Rendering()
        rendering = options.rendering
        needs_more = rendering.needs_photo or rendering.memory_bytes(plan.size, classes) > mask.memory_bytes(plan.size, classes)
        lighter = {
            f"the mask alone (format={mask.format})": needs_more,
            "side=auto": options.side != "auto",
            "quality=standard": options.quality != "standard",
            "no min_area and fill_holes": options.replaces_regions,
        }
        ways = [way for way, helps in lighter.items() if helps]
        advice = f"send a smaller one{', or ask for ' + ' or '.join(ways) if ways else ''}"
        return f"{advice}; the operator can raise {self._memory_setting}"
