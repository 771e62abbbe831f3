"""Waits for a job off the event loop, unless its client goes away or its deadline passes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
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
    await _admitted(service, job, before)
    running = job.admitted_to.threads(job).submit(service.process, job)
    # called when its thread is done with it, not when nobody waits any more: until then it takes room
    running.add_done_callback(lambda _: service.finish(job))
    work, gone = asyncio.wrap_future(running), asyncio.create_task(_disconnected(request))
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


async def _admitted(service: Service, job: Job, before: Callable[[Job], None]) -> None:
    """Lets the job in. Where nobody waits for that any more, gives its place back as soon as it has one."""
    admitting = service.pools.heads.submit(_admit, service, job, before)
    try:
        await asyncio.wrap_future(admitting)
    except asyncio.CancelledError:
        admitting.add_done_callback(lambda _: _let_go(service, admitting, job))
        raise


def _let_go(service: Service, admitting: Future[None], job: Job) -> None:
    if not admitting.cancelled() and admitting.exception() is None:
        service.finish(job)


def _admit(service: Service, job: Job, before: Callable[[Job], None]) -> None:
    service.admit(job)
    try:
        before(job)
    except BaseException:
        service.finish(job)
        raise


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
