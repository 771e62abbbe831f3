"""`POST /segment`: from a request to its answer, waiting off the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from app.errors import SEGMENT_PROBLEMS, TimedOut, Unavailable, mapped_errors
from app.examples import segment_responses, upload_body
from app.jobs import Job
from app.negotiation import format_from_accept
from app.schemas import Segmenting
from app.security import check_key
from app.service import Service
from app.uploads import read_image
from imaging.answer import Rendering

router = APIRouter()
STAGES = ("decode", "queue", "inference", "encode")


@router.post(
    "/segment",
    summary="Segment an image",
    response_class=Response,
    response_model=None,
    responses=segment_responses(SEGMENT_PROBLEMS),
    openapi_extra=upload_body(),
)
async def segment_image(request: Request, query: Segmenting) -> Response:
    """Answers the mask of the image in the form's field `file` (or `image`), or in the raw body.

    The mask has exactly the size of the upright image. What the image is, is judged by its bytes.
    """
    service: Service = request.app.state.service
    check_key(request, service.settings.api_keys)
    format = query.format or format_from_accept(",".join(request.headers.getlist("accept")))
    if service.not_ready:
        raise Unavailable(service.not_ready, {"Retry-After": "1"})
    service.in_flight += 1
    try:
        settings = service.settings
        with service.arrivals.reading():
            data = await read_image(request, int(settings.max_upload_mb * 1e6), settings.upload_timeout_s)
        options = service.options(blend=query.blend, overlap=query.overlap, side=query.side)
        job = Job(data, options, Rendering(format, query.mask, query.alpha), service.deadline())
        return await _answer(request, service, job)
    finally:
        service.in_flight -= 1


async def _answer(request: Request, service: Service, job: Job) -> Response:
    with mapped_errors():
        body = await _wait(request, service, job)
    for stage, seconds in job.stages.items():
        service.metrics.stages.labels(stage).observe(seconds)
    service.metrics.pixels.inc(job.size[0] * job.size[1])
    milliseconds = {stage: round(job.stages.get(stage, 0.0) * 1000, 1) for stage in STAGES}
    request.state.log = {"size": f"{job.size[1]}x{job.size[0]}", "format": job.rendering.format, **milliseconds}
    timing = ", ".join(f"{stage};dur={value}" for stage, value in milliseconds.items())
    return Response(body, media_type=job.rendering.media_type, headers={"Server-Timing": timing, "Vary": "Accept"})


async def _wait(request: Request, service: Service, job: Job) -> bytes:
    """The job's result, unless the client goes away or the deadline passes first."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(service.pools.heads, service.admit, job)
    work = loop.run_in_executor(service.pools.of(job.megapixels), service.process, job)
    work.add_done_callback(lambda _: service.finish(job))
    gone = asyncio.create_task(_disconnected(request))
    try:
        waited: set[asyncio.Future[Any]] = {work, gone}
        await asyncio.wait(waited, timeout=service.settings.request_timeout_s, return_when="FIRST_COMPLETED")
        if work.done():
            return work.result()
        service.cancel(job)
        raise TimedOut(
            "the client went away" if gone.done() else
            f"no answer within {service.settings.request_timeout_s:g} s; send a smaller image or try when it is less busy"
        )  # fmt: skip
    finally:
        work.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
