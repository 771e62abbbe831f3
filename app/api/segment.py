"""`POST /segment`: answers one image in the requested format."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Receive, Scope, Send

from app.api.errors import SEGMENT_PROBLEMS, Unavailable, Undecodable, UnsupportedType, mapped_errors
from app.api.examples import segment_responses, upload_body
from app.api.headers import (
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
from imaging.decoding import NONE_OF_THEM, Limits
from imaging.encoding import ImageFormat
from imaging.object_facts import object_facts, object_headers
from imaging.rendering import RENDERING, Format, Rendering
from model.inference.parameters import OPTIONS
from model.inference.plan import Options
from model.inference.processes.protocol import Answer, Body, Image, WorkerPlan

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
    gzip = takes_gzip(join_values(request.headers, "accept-encoding"))
    query = with_values(query, upload.values, upload.source)
    format = query.format or format_from_accept(accept)
    options = make_options(service, query, format, upload.name, picture_format_from_accept(accept))
    image = Image(upload.body, options, image_limits(service), gzip, request.state.known | {"format": format})
    with _curl_advice(request), mapped_errors():
        check = partial(check_precondition, request.headers)
        answer, facts = await segment(request, service, image, query.model, request.state.reservation, check)
    milliseconds = {stage: round(answer.seconds[stage] * 1000, 1) for stage in STAGES}
    request.state.log = {"size": f"{answer.size[1]}x{answer.size[0]}", "format": format, **milliseconds}
    headers = {
        "ETag": facts["etag"],
        "Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in milliseconds.items()),
        "Vary": "Accept, Accept-Encoding",
        **object_headers(facts),
    }
    if answer.encoding:
        headers["Content-Encoding"] = answer.encoding
    if remark := facts.get("remark"):
        headers[REMARK] = remark
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
    check: Callable[[str], None] = lambda _: None,
) -> tuple[Answer, dict[str, Any]]:
    """Does what `Service.segment` does, until the client disconnects (`Cancelled`) or the request's time has passed.

    check: is called with the answer's entity tag before the network runs, and may raise. Returns the answer, and its facts for
    the client: `etag`, `remark` if there is one, and those of its object.
    """
    tag = ""

    def check_plan(model: Model, plan: WorkerPlan) -> None:
        nonlocal tag
        tag = entity_tag(plan.sha256, image.options, model.segmenter.runtime)
        check(tag)

    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    try:
        answer = await service.segment(image, model, reservation, service.deadline(), disconnect, check_plan)
        remark = {"remark": answer.remark} if answer.remark else {}
        return answer, {"etag": weak(tag)} | remark | object_facts(image.options.rendering, answer.box, answer.object_pixels)
    finally:
        disconnect.cancel()


def make_options(service: Service, query: SegmentQuery, format: Format, name: str, picture: ImageFormat = "png") -> Options:
    """The options of a request, from its query or else from the settings. Raises `BadParameter`.

    name: the image's file name, which COCO documents contain. picture: the image format of `color` and `overlay`, if the query
    has none.
    """
    settings = service.settings
    values = {"overlap": settings.overlap, "blend": settings.blend} | own_values(query) | {"format": format}
    if format in ("color", "overlay"):
        values.setdefault("image_format", picture)
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
