"""Waits for a job off the event loop, unless its client goes away or its deadline passes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from fastapi import Request

from app.errors import TimedOut, mapped_errors
from app.jobs import Job
from app.service import Service

STAGES = ("decode", "queue", "inference", "encode")


async def answer(request: Request, service: Service, job: Job, before: Callable[[Job], None] = lambda job: None) -> bytes:
    """The answer's bytes. `before` is called once the job is let in, and may end it by raising. Raises problems alone."""
    with mapped_errors():
        body = await _wait(request, service, job, before)
    for stage, seconds in job.stages.items():
        service.metrics.stages.labels(stage).observe(seconds)
    service.metrics.pixels.inc(job.size[0] * job.size[1])
    return body


def milliseconds(job: Job) -> dict[str, float]:
    """What each stage took."""
    return {stage: round(job.stages.get(stage, 0.0) * 1000, 1) for stage in STAGES}


async def _wait(request: Request, service: Service, job: Job, before: Callable[[Job], None]) -> bytes:
    outcome: Future[bytes] = Future()
    if service.peek(job):
        _admit(service, job, before)
        service.hand_over(job, outcome)
    else:
        admitting = service.pools.heads.submit(_admit, service, job, before)
        admitting.add_done_callback(partial(_go_on, service, job, outcome))
    work, gone = asyncio.wrap_future(outcome), asyncio.create_task(_disconnected(request))
    try:
        waited: set[asyncio.Future[Any]] = {work, gone}
        await asyncio.wait(waited, timeout=service.settings.request_timeout_s, return_when="FIRST_COMPLETED")
        if work.done():
            return work.result()
        raise TimedOut(
            "the client went away" if gone.done() else
            f"no answer within {service.settings.request_timeout_s:g} s; send a smaller image or try when it is less busy"
        )  # fmt: skip
    finally:
        if not work.done():
            service.cancel(job)
        work.cancel()
        gone.cancel()


def _admit(service: Service, job: Job, before: Callable[[Job], None]) -> None:
    service.admit(job)
    try:
        before(job)
    except BaseException:
        service.finish(job)
        raise


def _go_on(service: Service, job: Job, outcome: Future[bytes], admitting: Future[None]) -> None:
    """From the thread that let the job in to those that process it: the event loop would be a detour."""
    if admitting.cancelled():
        outcome.cancel()
    elif not (error := admitting.exception()):
        service.hand_over(job, outcome)
    elif outcome.set_running_or_notify_cancel():
        outcome.set_exception(error)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
