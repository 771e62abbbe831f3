"""`POST /segment`: answers one image in the requested format.

Request headers select the answer (RFC 9110): its format, its compression, and whether the client has it already.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.api import forms
from app.api.body import RequestBody, media_type, read_image
from app.api.errors import NotAcceptable, PreconditionFailed, Unavailable
from app.api.query import Parameters, make_options
from app.api.schemas import REMARK, SEGMENT_ROUTE
from app.api.security import check_key
from app.connections import PIECE_BYTES
from app.serving.admission import Reservation
from app.serving.service import Service
from imaging.decoding import Limits
from imaging.object_facts import object_facts, object_headers
from model.command_line import package_version
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import Answer, ImageRequest, WorkerPlan
from model.inference.runtime import Runtime

ACCEPTED_FORMATS = {"image/png": "png", "application/json": "json"}
PICTURES = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
JOB_S = 3600.0  # from an image of a job to its answer
STAGES = ("decode", "queue", "inference", "encode")
router = APIRouter()


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
    body = RequestBody(request, service, service.settings.max_upload_mb)
    reader = forms.read_form_image if media_type(request) == forms.MEDIA_TYPE else read_image
    upload, query = await reader(body, query)
    accept = join_values(request.headers, "accept")
    if "format" not in query:
        query = {**query, "format": format_from_accept(accept)}
    # `Accept` also chooses the file format of a picture, unless the query has `image_format`
    options = make_options(service.settings, query, upload.name, _best(accept, PICTURES) or "png")
    gzip = takes_gzip(join_values(request.headers, "accept-encoding"))
    image = ImageRequest(
        upload.body, options, image_limits(service), gzip, request.state.log_fields | {"format": query["format"]}
    )
    disconnect = watch(request)
    try:
        answer, facts = await segment(
            service, image, query.get("model"), request.state.reservation, disconnect, request.headers
        )
    finally:
        disconnect.cancel()
    milliseconds = {stage: round(answer.seconds[stage] * 1000, 1) for stage in STAGES}
    request.state.answer_fields = {"size": f"{answer.size[1]}x{answer.size[0]}", "format": query["format"], **milliseconds}
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


def image_limits(service: Service) -> Limits:
    """The settings' limits on images."""
    return Limits(service.settings.max_megapixels, "scale it down; the operator can raise SEGMENT_MAX_MEGAPIXELS")


async def segment(
    service: Service,
    image: ImageRequest,
    model_name: str | None,
    reservation: Reservation,
    disconnect: asyncio.Future[None],
    preconditions: Headers | None = None,
) -> tuple[Answer, dict[str, Any]]:
    """Calls `Service.segment`, and ends it when the client disconnects (`Cancelled`) or the image's time has passed.

    disconnect: as `Service.segment` has it. preconditions: headers that `check_precondition` checks before the network runs.
    Returns the answer, and its facts for the client: `etag`, `remark` if there is one, and those of its object. Raises
    `UnknownModel`, `NotServing`, and as `Service.segment` and `check_precondition`.
    """
    tag = ""

    def check(plan: WorkerPlan) -> None:
        nonlocal tag
        tag = entity_tag(plan.sha256, image.options, model.segmenter.runtime)
        check_precondition(preconditions or Headers(), tag)

    deadline = time.monotonic() + JOB_S if image.is_background else service.deadline()
    with service.registry.using(model_name) as model:
        answer = await service.segment(image, model, reservation, deadline, disconnect, check)
    remark = {"remark": answer.remark} if answer.remark else {}
    return answer, {"etag": weak(tag)} | remark | object_facts(image.options.rendering, answer.box, answer.object_pixels)


def watch(request: Request) -> asyncio.Task[None]:
    """A task that ends once the request's client disconnects. The body has been read. The caller cancels it."""
    return asyncio.create_task(_wait_for_disconnect(request))


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def entity_tag(image_sha256: str, options: Options, runtime: Runtime) -> str:
    """A tag that is equal for requests with equal answers, on processors of one kind.

    It is a hash of the image, the options, the model's identity (name, weights, runtime, precision), the loaded file and this
    package's version.
    """
    facts = (image_sha256, options, runtime.identity, runtime.file_sha256, package_version())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def check_precondition(headers: Headers, tag: str) -> None:
    """Raises `PreconditionFailed` if `If-None-Match` names this tag: the client has the answer already."""
    tags = [part.strip().removeprefix("W/").strip('"') for part in join_values(headers, "if-none-match").split(",")]
    if tag in tags:
        problem = f'the answer is still the one with the tag "{tag}"; leave out If-None-Match to get it'
        raise PreconditionFailed(problem, {"ETag": weak(tag)})


def weak(tag: str) -> str:
    """The tag as a weak entity tag, because processors of different generations may give answers that differ in a bit."""
    return f'W/"{tag}"'


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
    weights = {media_type: _quality(accept, media_type) for media_type in offers}
    best = max(weights, key=lambda media_type: weights[media_type])
    return offers[best] if weights[best][0] > 0 else ""


def _quality(accept: str, media_type: str) -> tuple[float, int]:
    """Weight and specificity (0 to 2) of the most specific range that matches the type; zeros if none does."""
    ranges = ["*/*", f"{media_type.split('/')[0]}/*", media_type]
    matches = [(ranges.index(name), weight) for name, weight in _weights(accept if accept.strip() else "*/*") if name in ranges]
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
