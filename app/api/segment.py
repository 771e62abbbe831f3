"""`POST /segment`: from a request to its answer, in the format that it asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from app.api.caching import check_precondition, compress, entity_tag, is_compressed, joined, weak
from app.api.errors import SEGMENT_PROBLEMS, ClientGone, NotAcceptable, TimedOut, Unavailable, mapped_errors, to_problem
from app.api.examples import segment_responses, upload_body
from app.api.schemas import SegmentQuery
from app.api.security import check_key
from app.api.uploads import Limits, read_image
from app.serving.errors import QueueFull
from app.serving.service import DRAINING, Job, Service
from imaging.answer import Format, Rendering
from model.inference.segmenter import Options

PIECE_BYTES = 1 << 18
OFFERS: dict[str, Literal["png", "json"]] = {"image/png": "png", "application/json": "json"}
T = TypeVar("T")
router = APIRouter()


async def ready_service(request: Request) -> Service:
    """The service, where the client may use it and it takes images now; raises `Unauthorized` or `Unavailable`."""
    service: Service = request.app.state.service
    check_key(request, service.api_keys)
    if reason := service.refusal:
        closing = {"Connection": "close"} if service.draining else {}
        raise Unavailable(reason, {"Retry-After": "1"} | closing, service.refusal_reason)
    return service


Ready = Annotated[Service, Depends(ready_service)]
"""A dependency: runs before the query is looked at and the body is read."""


@router.post(
    "/segment",
    summary="Segment an image",
    response_class=Response,
    response_model=None,
    responses=segment_responses(SEGMENT_PROBLEMS),
    openapi_extra=upload_body(),
)
async def segment_image(request: Request, service: Ready, query: Annotated[SegmentQuery, Query()]) -> Response:
    """Answers the mask of the image in the form's field `file` (or `image`), or in the raw body.

    The mask has exactly the size of the upright image. What the image is, is judged by its bytes.
    """
    format = query.format or format_from_accept(joined(request.headers, "accept"))
    settings = service.settings
    upload = await read_image(request, upload_limits(request, service, settings.max_upload_mb))
    options = make_options(service, query, format, upload.name)
    deadline, tag = service.deadline(), ""

    def prepare() -> Job:
        nonlocal tag
        job = service.prepare(upload.data, options, query.model, request.state.reservation, deadline)
        try:
            runtime = job.model.segmenter.runtime
            tag = entity_tag(upload.data, options, runtime.identity, runtime.file_sha256)
            check_precondition(request.headers, tag)
        except BaseException:
            service.abandon(job)
            raise
        return job

    with mapped_errors():
        job = await prepared(service, prepare, deadline)
        body = await answer(request, service, job)
        taken = job.milliseconds
        size = job.plan.size
        request.state.log = {"size": f"{size[1]}x{size[0]}", "format": format, **taken}
        media_type = options.rendering.media_type
        headers: dict[str, str] = {}
        if is_compressed(body, media_type, joined(request.headers, "accept-encoding")):
            packing = asyncio.wrap_future(service.aside(partial(compress, body)))
            await asyncio.wait([packing], timeout=_left(deadline))
            body, headers = _made(service, packing), {"Content-Encoding": "gzip"}
    headers |= {
        "ETag": weak(tag),
        "Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in taken.items()),
        "Vary": "Accept, Accept-Encoding",
    }
    service.memory.hold(request.state.reservation.held, len(body), made=True)
    return in_pieces(body, media_type, headers)


def upload_limits(request: Request, service: Service, megabytes: float) -> Limits:
    """For a body of up to so many 10^6 bytes, which is held in the name of the request's reservation."""
    held = request.state.reservation.held

    def hold(count: int) -> None:
        try:
            service.memory.hold(held, count)
        except QueueFull as error:
            problem = to_problem(error)
            raise Unavailable(problem.detail, problem.headers | {"Connection": "close"}, error.reason) from error

    return Limits(int(megabytes * 1e6), service.settings.upload_timeout_s, hold)


def in_pieces(body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """The answer, sent piece by piece where it is long: the next one once the client has taken most of the last."""

    async def sent() -> AsyncIterator[bytes]:
        for piece in pieces(body):
            yield piece

    if len(body) <= PIECE_BYTES:
        return Response(body, media_type=media_type, headers=headers)
    return StreamingResponse(sent(), media_type=media_type, headers=headers | {"Content-Length": str(len(body))})


def pieces(body: bytes) -> Iterator[bytes]:
    """Of `PIECE_BYTES` each, but for the last."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def prepared(service: Service, prepare: Callable[[], Job], deadline: float) -> Job:
    """What `prepare` gives, on a thread, unless the deadline passes first, which raises `TimedOut`.

    Where nobody waits any more, the job is abandoned once it is there.
    """

    def abandon(made: asyncio.Future[Job]) -> None:
        if not made.cancelled() and not made.exception():
            service.abandon(made.result())

    making = asyncio.wrap_future(service.aside(prepare))
    try:
        await asyncio.wait([making], timeout=_left(deadline))
        return _made(service, making)
    except BaseException:
        making.add_done_callback(abandon)
        raise
    finally:
        del making  # an error refers to this frame: it must not refer back, or it would keep the image in memory


async def answer(request: Request, service: Service, job: Job) -> bytes:
    """The answer's bytes, unless the client goes away first, which raises `ClientGone`, or the deadline passes: `TimedOut`.

    What the job raises is raised as it is. Waits on the event loop; the job runs on a thread of the service's.
    """
    made = asyncio.wrap_future(service.submit(job))
    gone = asyncio.create_task(_disconnected(request))
    either: set[asyncio.Future[Any]] = {made, gone}
    try:
        await asyncio.wait(either, timeout=_left(job.queue.deadline), return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not made.done():
            raise ClientGone(ClientGone.example)
        return _made(service, made)
    finally:
        if not made.done():
            service.cancel(job)
            made.cancel()
        gone.cancel()
        del made, gone, either  # as in `prepared`


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _made(service: Service, made: asyncio.Future[T]) -> T:
    """What was made on a thread; raises what that raised, `TimedOut` where it is late, `Unavailable` where it never comes."""
    try:
        if not made.done():
            timeout = service.settings.request_timeout_s
            raise TimedOut(f"no answer within {timeout:g} s; send a smaller image or try when it is less busy")
        if made.cancelled():  # by the pool's end
            raise Unavailable(service.refusal or DRAINING, {"Retry-After": "1"}, service.refusal_reason)
        return made.result()
    finally:
        del made  # as in `prepared`


def make_options(service: Service, query: SegmentQuery, format: Format, name: str) -> Options:
    """What is asked for, and the settings where nothing is; `name` is the image's, for COCO."""
    settings = service.settings
    rendering = Rendering(
        format, query.mask, query.alpha, query.confidence, query.probabilities, query.min_confidence, query.tolerance,
        name if format == "coco" else Rendering.name,
    )  # fmt: skip
    overlap = settings.overlap if query.overlap is None else query.overlap
    return Options(settings.tile_size, overlap, query.blend or settings.blend, query.side, query.quality, rendering)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def format_from_accept(accept: str) -> Literal["png", "json"]:
    """`png` or `json` (RFC 9110, section 12.5.1): what the header weighs higher, then what it names and not only covers.

    `png` where all is equal. Raises `NotAcceptable`.
    """
    weights = {media_type: _quality(accept, media_type) for media_type in OFFERS}
    best = max(weights, key=lambda media_type: weights[media_type])
    if weights[best][0] <= 0:
        raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(OFFERS)}; give one of those, or ?format=")
    return OFFERS[best]


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches; zeros where none does."""
    found: list[tuple[int, float]] = []
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        group = media_type.split("/")[0]
        if name in (media_type, f"{group}/*", "*/*"):
            specificity = 2 - [media_type, f"{group}/*", "*/*"].index(name)
            found.append((specificity, _weight(parameters)))
    specificity, weight = max(found, default=(0, 0.0))
    return weight, specificity


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
