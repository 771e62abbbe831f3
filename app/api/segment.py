"""`POST /segment`: answers one image in the requested format.

Request headers select the answer (RFC 9110): its format, its compression, and whether the client has it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api import forms
from app.api.body import RequestBody, media_type, read_image
from app.api.errors import NotAcceptable, PreconditionFailed, Unavailable
from app.api.form_parser import FIELDS
from app.api.query import Parameters, Query, make_options
from app.api.schemas import REMARK, SEGMENT_ROUTE
from app.api.security import check_key
from app.connections import PIECE_BYTES
from app.serving.admission import Reservation
from app.serving.service import Service
from imaging.object_facts import object_headers
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import ImageRequest

ACCEPTED_FORMATS = {"image/png": "png", "application/json": "json"}
PICTURES = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
STAGES = ("decode", "queue", "inference", "encode")
T = TypeVar("T")
router = APIRouter(tags=["segmentation"])


async def ready_service(request: Request) -> Service:
    """Returns the service if the client has a valid key and the service takes images now.

    Raises `Unauthorized` or `Unavailable`.
    """
    service: Service = request.app.state.service
    check_key(request, service.registry.api_keys)
    reservation: Reservation = request.state.reservation
    reservation.sender += " " + request.state.log_fields.get("key", "")  # clients with keys of their own take turns, too
    if reason := service.refusal:
        raise Unavailable(reason, {"Retry-After": "1"}, service.refusal_reason)
    return service


Ready = Annotated[Service, Depends(ready_service)]
"""A dependency. It runs before the query is validated and the body is read."""


@router.post("/segment", summary="Segment an image", **SEGMENT_ROUTE)
async def segment_image(request: Request, service: Ready, query: Parameters) -> Response:
    """Answers the mask of the image in the form's field `file` (or `image`), in the raw body, or in JSON.

    The mask has exactly the size of the upright image. The file format is detected from the bytes. Form fields that are named
    like parameters, and `parameters` of the JSON, work as in the query.
    """
    return await answer_request(request, service, query)


async def answer_request(request: Request, service: Service, query: Query, fields: Sequence[str] = FIELDS) -> Response:
    """The answer of `segment_image`. fields: names of the form's field for the image, as `read_form` takes them."""
    body = RequestBody(request, service, service.settings.max_upload_mb)
    if media_type(request) == forms.MEDIA_TYPE:
        upload, query = await forms.read_form_image(body, query, fields)
    else:
        upload, query = await read_image(body, query)
    accept = join_values(request.headers, "accept")
    if "format" not in query:
        query = {**query, "format": format_from_accept(accept)}
    # `Accept` also chooses the file format of a picture, unless the query has `image_format`
    options = make_options(service.settings, query, upload.name, _best(accept, PICTURES) or "png")
    return await answer_image(request, service, upload.body, options, query.get("model"))


async def answer_image(request: Request, service: Service, body: Blob, options: Options, model: str | None) -> Response:
    """The answer for an image's bytes."""
    format, gzip = options.rendering.format, takes_gzip(join_values(request.headers, "accept-encoding"))
    image = ImageRequest(body, options, service.limits, gzip, request.state.log_fields | {"format": format})
    check = partial(check_precondition, request.headers)
    work = service.segment(image, model, request.state.reservation, check)
    answer, facts = await while_connected(request, work)
    milliseconds = {stage: round(answer.seconds[stage] * 1000, 1) for stage in STAGES}
    request.state.answer_fields = {"size": f"{answer.size[1]}x{answer.size[0]}", "format": format, **milliseconds}
    headers = {
        "ETag": facts["etag"],
        "Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in milliseconds.items()),
        "Vary": "Accept, Accept-Encoding",
        **object_headers(facts),
    }
    if answer.encoding:
        headers["Content-Encoding"] = answer.encoding
    if answer.remark:
        headers[REMARK] = answer.remark
    return AnswerResponse(answer.body, options.rendering.media_type, headers)


class AnswerResponse(Response):
    """Sends an answer piece by piece. It does not close the body: the request's reservation does."""

    def __init__(self, body: Blob, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(None, media_type=media_type, headers=headers | {"Content-Length": str(body.length)})
        self.content = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content, position = self.content, 0
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while piece := content.read(PIECE_BYTES, position):
            position += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": position < content.length})


async def disconnection(request: Request) -> None:
    """Waits until the request's client disconnects. The body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. It ends once the client, whose body has been read, disconnects. Raises `ClientDisconnect`."""
    task, end = asyncio.create_task(work), asyncio.create_task(disconnection(request))
    try:
        await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        task.cancel()
        end.cancel()
        await asyncio.wait((task, end))
        del task  # breaks the cycle of a task, its error and this frame, which would keep the image's memory


def check_precondition(headers: Headers, tag: str) -> None:
    """Raises `PreconditionFailed` if `If-None-Match` names this weak tag: the client has the answer already."""
    if (opaque := tag.removeprefix("W/")) in named_tags(headers):
        problem = f"the answer is still the one with the tag {opaque}; leave out If-None-Match to get it"
        raise PreconditionFailed(problem, {"ETag": tag})


def named_tags(headers: Headers) -> set[str]:
    """The tags in `If-None-Match`, each in quotes and without `W/`; `*` is as it is (RFC 9110, section 13.1.2)."""
    texts = [part.strip().removeprefix("W/") for part in join_values(headers, "if-none-match").split(",")]
    return {text if text == "*" else f'"{text.strip(chr(34))}"' for text in texts}


def join_values(headers: Headers, name: str) -> str:
    """All values of a header that may be repeated, as one comma-separated list (RFC 9110, section 5.3)."""
    return ",".join(headers.getlist(name))


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` allows gzip: its weight, or else the weight of `*`, is above 0."""
    weights = dict(_weights(accept_encoding))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def format_from_accept(accept: str) -> str:
    """Chooses `png` or `json` by `Accept` (RFC 9110, section 12.5.1). Raises `NotAcceptable` if it allows neither.

    The greater weight wins; then the type that a more specific range matches; then `png`.
    """
    if format := _best(accept, ACCEPTED_FORMATS):
        return format
    raise NotAcceptable(f"Accept: {accept} fits neither {' nor '.join(ACCEPTED_FORMATS)}; give one of those, or ?format=")


def _best(accept: str, offers: Mapping[str, str]) -> str:
    """Of the media type that the header prefers, the first of equal ones, what `offers` calls it; empty if it allows none."""
    entries = list(_weights(accept if accept.strip() else "*/*"))
    weights = {media_type: _quality(entries, media_type) for media_type in offers}
    best = max(weights, key=lambda media_type: weights[media_type])
    return offers[best] if weights[best][0] > 0 else ""


def _quality(entries: Iterable[tuple[str, float]], media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches the type; zeros if none does."""
    ranges = ["*/*", f"{media_type.split('/')[0]}/*", media_type]
    matches = [(ranges.index(name), weight) for name, weight in entries if name in ranges]
    specificity, weight = max(matches, default=(0, 0.0))
    return weight, specificity


def _weights(header: str) -> Iterator[tuple[str, float]]:
    """The entries of a header in lower case, each with its weight `q` (RFC 9110, section 12.4.2); 0 if that is invalid."""
    for entry in header.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            value = float(weight)
        except ValueError:
            value = 0.0
        yield name, value if 0 <= value <= 1 else 0.0
