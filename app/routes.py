"""`POST /segment`: from a request to its answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.errors import SEGMENT_PROBLEMS, Unavailable
from app.examples import segment_responses, upload_body
from app.jobs import Job
from app.negotiation import format_from_accept
from app.query import query_parameters, segment_query
from app.representation import check_precondition, entity_tag, represent
from app.schemas import SegmentQuery
from app.security import check_key
from app.service import Service
from app.uploads import Upload, read_image
from app.waiting import answer, milliseconds
from imaging.answer import Format, Rendering


class Direct(APIRoute):
    """A route whose endpoint reads the request itself: FastAPI's steps for parameters that it has not are left out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return cast(Callable[[Request], Coroutine[Any, Any, Response]], self.endpoint)


router = APIRouter(route_class=Direct)


@router.post(
    "/segment",
    summary="Segment an image",
    response_class=Response,
    response_model=None,
    responses=segment_responses(SEGMENT_PROBLEMS),
    openapi_extra=query_parameters() | upload_body(),
)
async def segment_image(request: Request) -> Response:
    """Answers the mask of the image in the form's field `file` (or `image`), or in the raw body.

    The mask has exactly the size of the upright image. What the image is, is judged by its bytes.
    """
    service, query = ready_service(request), segment_query(request)
    format = query.format or format_from_accept(",".join(request.headers.getlist("accept")))
    service.in_flight += 1
    try:
        settings = service.settings
        upload = await read_image(request, int(settings.max_upload_mb * 1e6), settings.upload_timeout_s)
        service.arrivals.end(request.scope)
        return await _respond(request, service, make_job(service, query, format, upload))
    finally:
        service.in_flight -= 1


def ready_service(request: Request) -> Service:
    """The service, where the client may use it and it takes images now; raises `Unauthorized` or `Unavailable`."""
    service: Service = request.app.state.service
    check_key(request, service.settings.api_keys)
    if service.not_ready:
        raise Unavailable(service.not_ready, {"Retry-After": "1"})
    return service


def make_job(service: Service, query: SegmentQuery, format: Format, upload: Upload) -> Job:
    """What is to be done for an image, until the deadline that starts now."""
    options = service.options(blend=query.blend, overlap=query.overlap, side=query.side)
    rendering = Rendering(
        format, query.mask, query.alpha, query.confidence, query.probabilities, query.min_confidence, query.tolerance,
        upload.name if format == "coco" else Rendering.name,
    )  # fmt: skip
    return Job(upload.data, options, rendering, service.deadline(), query.model)


async def _respond(request: Request, service: Service, job: Job) -> Response:
    def unless_known(job: Job) -> None:
        job.tag = entity_tag(job)
        check_precondition(request.headers, job.tag)

    body = await answer(request, service, job, unless_known)
    taken = milliseconds(job)
    request.state.log = {"size": f"{job.size[1]}x{job.size[0]}", "format": job.rendering.format, **taken}
    timing = ", ".join(f"{stage};dur={value}" for stage, value in taken.items())
    media_type = job.rendering.media_type
    body, headers = represent(body, media_type, job.tag, request.headers.get("accept-encoding", ""))
    return Response(body, media_type=media_type, headers={"Server-Timing": timing} | headers)
