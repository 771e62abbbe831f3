"""The work on a request's image within the limits of the service: turns, memory, the queue of tiles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from app.serving.admission import Admission
from app.serving.budget import GRANTED_BYTES, Budget
from app.serving.rates import LARGE_MEGAPIXELS, Kind, Stopwatch
from app.serving.registry import Model
from app.serving.reservation import Reservation
from imaging.rendering import Rendering
from model.inference.merging import Logits
from model.inference.processes.protocol import NO_GRANT, Answer, Grant, Image, WorkerPlan
from model.inference.processes.work import Work
from model.inference.processes.worker import Worker
from model.inference.processes.workers import Workers
from model.inference.runtime import Tile

CALM_SHARE = 0.5  # of the queue; while more is queued, an image may well be refused, and none is begun before it is admitted
Check = Callable[[Model, WorkerPlan], None]
"""Is called with the model and the image's plan. If it raises, the work ends with its error."""


class RequestWork(Work):
    """The work on a request's image with a model. Only for the event loop. `run` it once.

    planning: limits how many images are planned at once. memory_setting: what the operator can raise, for errors.
    """

    def __init__(
        self,
        image: Image,
        model: Model,
        reservation: Reservation,
        deadline: float,
        check: Check,
        *,
        workers: Workers,
        budget: Budget,
        admission: Admission,
        planning: asyncio.Semaphore,
        memory_setting: str,
    ) -> None:
        super().__init__(image, workers=workers, scheduler=model.scheduler, runtime=model.description, deadline=deadline)
        self._model, self._reservation, self._check = model, reservation, check
        self._budget, self._admission, self._planning = budget, admission, planning
        self._memory_setting = memory_setting
        self._body_bytes = image.body.length
        self._in_network = Stopwatch(time.monotonic)
        self._admission_time = 0.0

    def _grant(self) -> Grant:
        """What a small image may take before its plan has arrived, if there is room for it now."""
        admission = self._admission
        is_calm = admission.queued_tiles <= CALM_SHARE * admission.max_queued_tiles
        if is_calm and self._budget.start_now(self._reservation, GRANTED_BYTES, large=False):
            return self._grant_of(GRANTED_BYTES, LARGE_MEGAPIXELS)
        return NO_GRANT

    def _grant_of(self, count: int, megapixels: float = float("inf")) -> Grant:
        return Grant(max(0, count - self._body_bytes), megapixels)

    def _needed_bytes(self, plan: WorkerPlan) -> int:
        return plan.bytes + self._body_bytes

    async def _plan(self, worker: Worker, grant: Grant) -> WorkerPlan:
        async with self._planning:
            return await super()._plan(worker, grant)

    def _admit(self, plan: WorkerPlan) -> bool:
        """Checks the planned image, and says whether its work has its bytes; if not, it must wait for them."""
        kind, needed_bytes = Kind.of(self._image.options, plan), self._needed_bytes(plan)
        self._check(self._model, plan)
        self._budget.check(needed_bytes, lambda: self._memory_advice(plan))
        self._admission.admit(self._reservation, plan.tile_count, self._queue.deadline, kind, plan.megapixels)
        self._admission_time = time.monotonic()
        return self._budget.start_now(self._reservation, needed_bytes, large=kind.large)

    async def _wait(self, plan: WorkerPlan) -> Grant:
        needed_bytes = self._needed_bytes(plan)
        self._budget.hold_body(self._reservation, self._body_bytes)
        await self._budget.start(self._reservation, needed_bytes, large=Kind.of(self._image.options, plan).large)
        return self._grant_of(needed_bytes)

    async def _finish(self, worker: Worker, plan: WorkerPlan) -> Answer:
        """Works on the planned image, which has its bytes. Measures the worker's own seconds."""
        queue = self._queue
        self._budget.hold_body(self._reservation, 0)
        began = time.monotonic()
        answer = await super()._finish(worker, plan)
        self._reservation.own(answer.body)
        own_seconds = time.monotonic() - began - self._in_network.seconds
        self._admission.worker_seconds.learn(Kind.of(self._image.options, plan), plan.megapixels, own_seconds)
        self._budget.hold_answer(self._reservation, answer.body.length)
        seconds = answer.seconds | {
            "queue": began - self._admission_time + queue.queue_seconds,
            "inference": answer.seconds["inference"] - queue.queue_seconds,
        }
        return replace(answer, seconds=seconds)

    def _submit(self, tile: Tile) -> Future[Logits]:
        self._in_network.begin()
        self._admission.tile_rate.begin()
        return super()._submit(tile)

    def _count_tile(self, tile: Future[Logits]) -> None:
        is_done = not tile.cancelled() and not tile.exception()
        self._in_network.end()
        self._admission.tile_rate.end(is_done=is_done)
        if is_done:
            self._admission.count_tile(self._reservation)

    def _memory_advice(self, plan: WorkerPlan) -> str:
        """What a client or the operator can do about an image that takes too much memory."""
        options, classes, mask = self._image.options, len(self._model.segmenter.manifest.labels), Rendering()
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
