"""The work on one image: a worker plans, decodes and encodes it, and the network runs its tiles in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from model.inference.merging import Logits
from model.inference.processes.messages import MOST_BYTES, Answer, Image, WorkerPlan
from model.inference.processes.worker import Worker
from model.inference.processes.worker_main import Grant
from model.inference.processes.workers import Workers
from model.inference.runtime import Tile
from model.inference.scheduler import Scheduler
from model.inference.tile_queue import TileQueue


class Turns(Protocol):
    """Decides what an image may take, and when."""

    def begin(self, file_bytes: int, deadline: float) -> Grant:
        """After `wait`, the image may be planned. Returns what it may take if its plan needs no more."""

    def admit(self, plan: WorkerPlan) -> bool:
        """Whether the planned image may begin now; if not, after `wait`. Raises if it must not begin at all."""

    async def wait(self) -> None:
        """Waits for the image's turn."""

    def count_tile(self) -> None:
        """A tile is done."""


class NoTurns:
    """Every image may begin at once."""

    def begin(self, file_bytes: int, deadline: float) -> Grant:
        return Grant(MOST_BYTES)

    def admit(self, plan: WorkerPlan) -> bool:
        return True

    async def wait(self) -> None: ...

    def count_tile(self) -> None: ...


async def work_on(
    image: Image,
    *,
    workers: Workers,
    scheduler: Scheduler,
    runtime: bytes,
    deadline: float,
    turns: Turns,
    check: Callable[[WorkerPlan], None] = lambda _: None,
) -> Answer:
    """Plans the image and works on it in the same worker. Closes the image's body; the caller closes the answer's.

    If the work has to wait, the worker is released meanwhile; then another worker plans the image again.
    Only for the event loop of `workers`. runtime: a pickled `DistantRuntime` of the scheduler's runtimes. deadline: on the
    scheduler's clock; no tile is run later. check: is called with the plan; what it raises ends the work.
    The answer's seconds of `queue` are those of waiting for a turn, a worker and the network.
    Raises `WorkersStopped`, the errors of a `Worker`, and those of `turns` and `check`.
    """
    queue, start = TileQueue(deadline), time.monotonic()

    def submit(tile: Tile) -> Future[Logits]:
        return scheduler.submit(queue, tile)

    def count(tile: Future[Logits]) -> None:
        if not tile.cancelled() and not tile.exception():
            turns.count_tile()

    async def finish(worker: Worker, plan: WorkerPlan, waited_s: float) -> Answer:
        image.body.close()  # the worker has its own copy
        answer = await worker.work(plan.bytes, submit, count)
        waits = {
            "queue": waited_s + queue.queue_seconds,
            "inference": answer.seconds["inference"] - queue.queue_seconds,
        }
        return replace(answer, seconds=answer.seconds | waits)

    try:
        grant = turns.begin(image.body.length, deadline)
        await turns.wait()
        async with workers.claim(deadline) as worker:
            waited_s = time.monotonic() - start
            plan = await worker.plan(image, runtime, scheduler.ahead, grant)
            try:
                check(plan)
                may_begin = turns.admit(plan)
            except Exception:
                await worker.drop()
                raise
            if may_begin:
                return await finish(worker, plan, waited_s)
            await worker.drop()
        start = time.monotonic()
        await turns.wait()
        async with workers.claim(deadline) as worker:
            waited_s += time.monotonic() - start
            await worker.plan(image, runtime, scheduler.ahead, Grant(plan.bytes))
            return await finish(worker, plan, waited_s)
    finally:
        image.body.close()
        scheduler.cancel(queue)
