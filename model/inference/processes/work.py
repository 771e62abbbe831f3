"""The work on one image: a worker plans, decodes and encodes it, and the network runs its tiles in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from model.inference.processes.blob import Blob
from model.inference.processes.protocol import Answer, ImageRequest, WorkerPlan
from model.inference.processes.workers import Workers
from model.inference.scheduler import Scheduler
from model.inference.tile_queue import TileQueue


class ImageReservation(Protocol):
    """Decides what an image may take, and when."""

    def ask(self, file: Blob, deadline: float) -> None:
        """Asks for a turn to plan the file. It has come once `wait` returns."""

    @property
    def is_in_work(self) -> bool:
        """Whether the image has its turn."""

    def set_plan(self, plan: WorkerPlan) -> None:
        """Sets what the planned image needs; without a turn for it, it is planned again after `wait`. Raises if refused."""

    async def wait(self) -> None:
        """Waits for the image's turn."""


async def work_on(
    image: ImageRequest,
    *,
    workers: Workers,
    scheduler: Scheduler,
    runtime: bytes,
    deadline: float,
    reservation: ImageReservation | None = None,
    check: Callable[[WorkerPlan], None] = lambda _: None,
) -> Answer:
    """Plans the image and works on it in the same worker. The caller closes the image's body and the answer's.

    If the work has to wait, the worker is released meanwhile; then another worker plans the image again.
    Only for the event loop of `workers`. runtime: a pickled `Runtime` of the scheduler's runtimes. deadline: on the
    scheduler's clock; no tile is run later. reservation: None if the image may begin at once. check: is called with the plan;
    what it raises ends the work.
    The answer's seconds of `queue` are those of waiting for a turn, a worker and the network.
    Raises `WorkersStopped`, the errors of a `Worker`, and those of `reservation` and `check`.
    """
    queue, waited_s = TileQueue(deadline, is_background=image.is_background), 0.0
    if not image.is_background:
        scheduler.announce()
    try:
        if reservation:
            reservation.ask(image.body, deadline)
        while True:
            start = time.monotonic()
            if reservation:
                await reservation.wait()
            async with workers.claim(deadline) as worker:
                waited_s += time.monotonic() - start
                plan = await worker.plan(image, runtime, scheduler.ahead)
                try:
                    check(plan)
                    if reservation:
                        reservation.set_plan(plan)
                except Exception:
                    await worker.drop_image()
                    raise
                if not reservation or reservation.is_in_work:
                    answer = await worker.work(plan.bytes, partial(scheduler.submit, queue))
                    inference_s = answer.seconds["inference"] - queue.wait_seconds
                    waits = {"queue": waited_s + queue.wait_seconds, "inference": inference_s}
                    return replace(answer, seconds=answer.seconds | waits)
                await worker.drop_image()
    finally:
        scheduler.cancel(queue)
