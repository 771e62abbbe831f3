"""`POST /segment`: answers one image in the requested format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Receive, Scope, Send

from app.api.errors import SEGMENT_PROBLEMS, Unavailable, Undecodable, UnsupportedType, mapped_errors
from app.api.examples import segment_responses, upload_body
from app.api.headers import (
    OBJECT_BOX,
    REMARK,
    check_precondition,
    entity_tag,
    format_from_accept,
    join_values,
    picture_format_from_accept,
    takes_gzip,
    weak,
)
from app.api.parameters import Parameters, own_values, with_values
from app.api.schemas import QUERY_PARAMETERS, SegmentQuery
from app.api.security import check_key
from app.api.uploads import UploadLimits, media_type, read_image
from app.exchange import PIECE_BYTES
from app.serving.registry import Model
from app.serving.reservation import Reservation
from app.serving.service import Service
from app.serving.work import Check
from imaging.decoding import NONE_OF_THEM, Limits
from imaging.rendering import RENDERING, Format, Rendering
from model.inference.parameters import OPTIONS
from model.inference.plan import Options
from model.inference.processes.messages import Answer, Body, Image, WorkerPlan

STAGES = ("decode", "queue", "inference", "encode")
URL_ENCODED, DATA_BINARY = "application/x-www-form-urlencoded", "--data-binary"
router = APIRouter()


async def ready_service(request: Request) -> Service:
    """Returns the service if the client has a valid key and the service takes images now.

    Raises `Unauthorized` or `Unavailable`.
    """
    service: Service = request.app.state.service
    check_key(request, service.loader.api_keys)
    reservation: Reservation = request.state.reservation
    reservation.sender += " " + request.state.known.get("key", "")  # clients with keys of their own take turns, too
    if reason := service.refusal:
        close = {"Connection": "close"} if service.draining else {}
        raise Unavailable(reason, {"Retry-After": "1"} | close, service.refusal_reason)
    return service


Ready = Annotated[Service, Depends(ready_service)]
"""A dependency. It runs before the query is validated and the body is read."""


@router.post(
    "/segment",
    summary="Segment an image",
    response_class=Response,
    response_model=None,
    responses=segment_responses(SEGMENT_PROBLEMS),
    openapi_extra=upload_body(),
)
async def segment_image(request: Request, service: Ready, query: Parameters) -> Response:
    """Answers the mask of the image in the form's field `file` (or `image`), in the raw body, or in JSON.

    The mask has exactly the size of the upright image. The file format is detected from the bytes. Form fields that are named
    like parameters, and `parameters` of the JSON, work as in the query.
    """
    accept = join_values(request.headers, "accept")
    upload = await read_image(request, upload_limits(request, service, service.settings.max_upload_mb))
    gzip, tag = takes_gzip(join_values(request.headers, "accept-encoding")), ""

    def check(model: Model, plan: WorkerPlan) -> None:
        nonlocal tag
        tag = entity_tag(plan.sha256, options, model.segmenter.runtime)
        check_precondition(request.headers, tag)

    query = with_values(query, upload.values, upload.source)
    format = query.format or format_from_accept(accept)
    if format in ("color", "overlay") and query.image_format is None:
        query = query.with_values({"image_format": picture_format_from_accept(accept)})
    options = make_options(service, query, format, upload.name)
    image = Image(upload.body, options, image_limits(service), gzip, request.state.known | {"format": format})
    with _curl_advice(request), mapped_errors():
        answer = await segment(request, service, image, query.model, request.state.reservation, check)
    milliseconds = {stage: round(answer.seconds[stage] * 1000, 1) for stage in STAGES}
    request.state.log = {"size": f"{answer.size[1]}x{answer.size[0]}", "format": format, **milliseconds}
    headers = {
        "ETag": weak(tag),
        "Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in milliseconds.items()),
        "Vary": "Accept, Accept-Encoding",
    }
    if answer.encoding:
        headers["Content-Encoding"] = answer.encoding
    if format == "cutout":
        headers[OBJECT_BOX] = ",".join(map(str, answer.box)) if answer.box else "none"
    if answer.remark:
        headers[REMARK] = answer.remark
    return AnswerResponse(answer.body, options.rendering.media_type, headers)


class AnswerResponse(Response):
    """Sends an answer piece by piece. It does not close the body: the request's reservation does."""

    def __init__(self, body: Body, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(None, media_type=media_type, headers=headers | {"Content-Length": str(body.length)})
        self.content = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content, position = self.content, 0
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while piece := content.read(PIECE_BYTES, position):
            position += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": position < content.length})


def upload_limits(request: Request, service: Service, megabytes: float, setting: str = "SEGMENT_MAX_UPLOAD_MB") -> UploadLimits:
    """The limits for a body of up to `megabytes` 10^6 bytes. Its bytes count for the request's reservation.

    setting: the one that this number comes from.
    """
    reservation: Reservation = request.state.reservation
    return UploadLimits(int(megabytes * 1e6), service.settings.upload_timeout_s, service.budget, reservation, setting)


def image_limits(service: Service) -> Limits:
    """The settings' limits on images."""
    return Limits(service.settings.max_megapixels, "scale it down; the operator can raise SEGMENT_MAX_MEGAPIXELS")


async def segment(
    request: Request,
    service: Service,
    image: Image,
    model: str | None,
    reservation: Reservation,
    check: Check = lambda *_: None,
) -> Answer:
    """Does what `Service.segment` does, until the client disconnects (`Cancelled`) or the request's time has passed."""
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    try:
        return await service.segment(image, model, reservation, service.deadline(), disconnect, check)
    finally:
        disconnect.cancel()


def make_options(service: Service, query: SegmentQuery, format: Format, name: str) -> Options:
    """The options of a request, from its query or else from the settings. Raises `BadParameter`.

    name: the image's file name, which COCO documents contain.
    """
    settings = service.settings
    values = {"overlap": settings.overlap, "blend": settings.blend} | own_values(query) | {"format": format}
    with mapped_errors():
        rendering = Rendering(
            name=name if format == "coco" else Rendering.name, **{each: values[each] for each in values if each in RENDERING}
        )
        rendering.check_uses(parameter for parameter in QUERY_PARAMETERS.values() if parameter.name in query.values)
    return Options(tile=settings.tile_size, rendering=rendering, **{each: values[each] for each in values if each in OPTIONS})


@contextmanager
def _curl_advice(request: Request) -> Iterator[None]:
    """Adds advice to the problem of an unreadable file if curl's `-d`, which changes files, may have sent it."""
    try:
        yield
    except (UnsupportedType, Undecodable) as problem:
        is_named = isinstance(problem, UnsupportedType) and not problem.detail.startswith(NONE_OF_THEM)
        if media_type(request) != URL_ENCODED or DATA_BINARY in problem.detail or is_named:
            raise
        advice = f"if curl sent it with -d, which changes files, use {DATA_BINARY} @photo.jpg instead"
        raise type(problem)(f"{problem.detail} ({advice})") from problem


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
