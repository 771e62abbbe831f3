"""Waits for a job off the event loop, unless its client goes away or its deadline passes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from fastapi import Request

from app.errors import TimedOut, Unavailable, mapped_errors
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
    gone = False
    try:
        async with asyncio.timeout(service.settings.request_timeout_s) as patience:
            _begin(service, job, before, outcome)
            outcome.add_done_callback(partial(_wake, asyncio.get_running_loop(), patience))
            await _disconnected(request)
            gone = True
    except TimeoutError:
        pass
    finally:
        done = outcome.done()
        if not done:
            service.cancel(job)
            outcome.cancel()
    if done:
        return _result(outcome)
    raise TimedOut(
        "the client went away" if gone else
        f"no answer within {service.settings.request_timeout_s:g} s; send a smaller image or try when it is less busy"
    )  # fmt: skip


def _begin(service: Service, job: Job, before: Callable[[Job], None], outcome: Future[bytes]) -> None:
    if service.peek(job):
        _admit(service, job, before)
        service.hand_over(job, outcome)
    else:
        admitting = service.pools.heads.submit(_admit, service, job, before)
        admitting.add_done_callback(partial(_go_on, service, job, outcome))


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


def _wake(loop: asyncio.AbstractEventLoop, patience: asyncio.Timeout, outcome: Future[bytes]) -> None:
    """Ends the wait from whatever thread: one step of the event loop less than a future of its own would take."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_expire, patience)


def _expire(patience: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is over
        patience.reschedule(0.0)


def _result(outcome: Future[bytes]) -> bytes:
    if outcome.cancelled():
        raise Unavailable("draining: the service is stopping", {"Retry-After": "1"})
    return outcome.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
