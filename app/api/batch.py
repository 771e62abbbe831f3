"""`POST /segment/batch`: several images in one request, each with its own answer or error."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import zipfile
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.body import DEFAULT_NAME, RequestBody, Upload, media_type
from app.api.errors import BadRequest, Problem, TooLarge, document, to_problem, unexpected_problem
from app.api.forms import MEDIA_TYPE, SPOOL_BYTES, distinct_names, read_form
from app.api.query import Parameters, Query, make_options
from app.api.schemas import batch_body, batch_responses
from app.api.segment import Ready, image_limits, segment, watch
from app.serving.admission import Reservation
from app.serving.service import Service
from imaging.coco import HEAD, renumber, split_document
from model.inference.processes.protocol import ImageRequest

router = APIRouter()
AHEAD = 4  # images of one request in work at once: enough to keep the runtime busy
LINES = "application/x-ndjson"
RESULTS = "results.jsonl"
NO_ROW: Mapping[str, Any] = {"width": None, "height": None, "classes": {}, "mean_confidence": None}
log = logging.getLogger("segment")


@dataclass(frozen=True)
class Outcome:
    """The result of one image: in `body` the answer's bytes, or the JSON of the problem. All else can be written as JSON.

    status: of HTTP; 200 for an answer. facts: what headers say of a single image, as `app.api.segment.segment` gives them; of a
    failed one `retry_after`, in seconds, where there is such a header. row: what `results.jsonl` says besides: the size, the
    share of each class, and the mean confidence; of a failed one None, nothing and None.
    """

    index: int
    file: str
    suffix: str
    status: int
    facts: Mapping[str, Any]
    row: Mapping[str, Any]
    body: bytes = b""
    problem: Problem | None = None

    @property
    def heading(self) -> dict[str, Any]:
        """The image's place, file name and status, and the facts."""
        return {"index": self.index, "file": self.file, "status": self.status, **self.facts}

    @property
    def is_problem(self) -> bool:
        return self.status != HTTPStatus.OK


@dataclass(frozen=True)
class Sender:
    """For whom images are segmented. disconnect: is done once they want them no more. is_background: as in `ImageRequest`."""

    request_id: str
    log_fields: Mapping[str, Any]
    disconnect: asyncio.Future[None]
    is_background: bool = False


Outcomes = AsyncGenerator[Outcome, None]


@router.post(
    "/segment/batch",
    summary="Segment several images",
    response_class=Response,
    response_model=None,
    responses=batch_responses(),
    openapi_extra=batch_body(),
)
async def segment_batch(request: Request, service: Ready, query: Parameters) -> Response:
    """Segments each field `file` of a form, and answers in their order. A bad image gets an error of its own.

    Form fields that are named like parameters work as in the query. With `format=json` (the default) or `hf` the answer has
    one line of JSON for each image, sent as soon as it is done. With `coco` it is one COCO document. Otherwise it is a zip.
    """
    if media_type(request) != MEDIA_TYPE:
        raise BadRequest("several images must come as multipart/form-data, each as a field `file`")
    body = RequestBody(request, service, service.settings.max_batch_mb, "SEGMENT_MAX_BATCH_MB")
    uploads, query = await read_form(body, query, SPOOL_BYTES)
    query = {"format": "json", **query}
    # these raise before the answer begins
    rendering = make_options(service.settings, query, DEFAULT_NAME).rendering
    body.reservation.check_queue(service.deadline())
    names = [upload.name for upload in uploads]
    if rendering.is_json:  # the members of a zip have numbers
        names = distinct_names(names)
    outcomes = image_outcomes(request, service, query, uploads, names)
    if rendering.format == "coco":
        return BatchResponse(coco_document(outcomes), media_type=rendering.media_type)
    if rendering.is_json:
        return BatchResponse(json_lines(outcomes), media_type=LINES)
    headers = {"Content-Disposition": 'attachment; filename="masks.zip"'}
    return BatchResponse(zip_file(outcomes), media_type="application/zip", headers=headers)


class BatchResponse(StreamingResponse):
    """Sends what a generator yields, then closes it in every case. Else it would stay open until it is garbage collected."""

    def __init__(self, content: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(content, **options)
        self.content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.content):
            await super().__call__(scope, receive, send)


async def image_outcomes(
    request: Request, service: Service, query: Query, uploads: Sequence[Upload], names: Sequence[str]
) -> Outcomes:
    """Yields the outcomes in the order of the uploads, with these names of their files. Works on up to `AHEAD` at once.

    From now on each upload has a reservation of its own instead of the request's, which is closed once its outcome is sent.
    The request's log line gets the number of images, how many failed, and the sizes of the others.
    """
    facts: dict[str, Any] = {"format": query["format"], "images": len(uploads), "failed": 0, "sizes": ""}
    request.state.answer_fields = facts
    reservations = service.admission.split(request.state.reservation, len(uploads))
    waiting = deque(enumerate(zip(names, uploads, reservations, strict=True)))
    working: deque[tuple[asyncio.Task[Outcome], Reservation]] = deque()
    disconnect = watch(request)
    sender = Sender(request.state.request_id, request.state.log_fields, disconnect)
    try:
        for upload, reservation in zip(uploads, reservations, strict=True):
            reservation.callback(upload.body.close)
            if upload.is_on_disk:
                reservation.add_file()
            reservation.set_body(0 if upload.is_on_disk else upload.body.length)
        while waiting or working:
            while waiting and len(working) < AHEAD:
                index, (name, upload, reservation) = waiting.popleft()
                work = segment_one(service, sender, query, index, name, upload, reservation)
                working.append((asyncio.create_task(work), reservation))
            task, reservation = working[0]
            await asyncio.wait([task])
            outcome = task.result()
            facts["failed"] += outcome.is_problem
            if not outcome.is_problem:
                facts["sizes"] = f"{facts['sizes']} {outcome.row['width']}x{outcome.row['height']}".lstrip()
            yield outcome
            reservation.close()
            working.popleft()
    finally:
        disconnect.cancel()
        for _, (_, _, reservation) in waiting:
            reservation.close()
        for task, reservation in working:
            task.cancel()
            task.add_done_callback(lambda _, reservation=reservation: reservation.close())  # type: ignore[misc]


async def segment_one(
    service: Service, sender: Sender, query: Query, index: int, name: str, upload: Upload, reservation: Reservation
) -> Outcome:
    """Works on one image. If it has a problem, its outcome holds nothing more, and the problem's reason is counted."""
    most_mb, log_fields = service.settings.max_upload_mb, {**sender.log_fields, "index": index, "format": query["format"]}
    try:
        if upload.body.length > most_mb * 1e6:
            advice = "send a smaller one; the operator can raise SEGMENT_MAX_UPLOAD_MB"
            raise TooLarge(f"the file is larger than {most_mb:g} MB; {advice}")
        reservation.take_place(service.deadline())
        reservation.set_body(upload.body.length)
        options = make_options(service.settings, query, upload.name)
        image = ImageRequest(
            upload.body, options, image_limits(service), log_fields=log_fields, is_background=sender.is_background
        )
        answer, facts = await segment(service, image, query.get("model"), reservation, sender.disconnect)
        data = answer.body.read(answer.body.length)
        answer.body.close()
        height, width = answer.size
        row = {"width": width, "height": height, "classes": answer.shares, "mean_confidence": answer.mean_confidence}
        return Outcome(index, name, options.rendering.suffix, HTTPStatus.OK, facts, row, data)
    except Exception as error:  # an unexpected error of one image must not end the others
        problem = to_problem(error)
        if type(problem) is Problem:
            log.error("unexpected error", exc_info=error, extra={"fields": log_fields})
            problem = unexpected_problem(error, service)
        problem.__traceback__ = problem.__cause__ = problem.__context__ = None  # its frames refer to it, which keeps memory
    reservation.close()
    if problem.reason:
        service.metrics.count_rejection(problem.reason)
    failure: dict[str, Any] = {"box": None} if query["format"] == "cutout" else {}
    if seconds := problem.headers.get("Retry-After"):
        failure["retry_after"] = int(seconds)
    body = json_bytes(document(type(problem), problem.detail, sender.request_id))
    return Outcome(index, name, ".problem.json", problem.status, failure, NO_ROW, body, problem)


async def json_lines(outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields a line of JSON for each image."""
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield _entry(outcome) + b"\n"


def _entry(outcome: Outcome) -> bytes:
    """The JSON object of one image: its heading, with its answer or its problem."""
    name = b"problem" if outcome.is_problem else b"answer"
    return json_bytes(outcome.heading)[:-1] + b',"' + name + b'":' + outcome.body + b"}"


async def coco_document(outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields one COCO document as it grows. An image's id is its place in the request, from 1; `problems` has the failed."""
    entries, problems, categories, annotations = [], [], b"", 0
    yield HEAD + b',"annotations":['
    async with aclosing(outcomes):
        async for outcome in outcomes:
            if outcome.is_problem:
                problems.append(_entry(outcome))
                continue
            changes = {"file_name": outcome.file, **outcome.facts}
            document = await asyncio.to_thread(split_document, outcome.body)
            parts = await asyncio.to_thread(renumber, document, outcome.index + 1, annotations + 1, changes)
            entries.append(parts.image)
            categories = parts.categories
            if parts.number:
                yield b"," * bool(annotations) + parts.annotations
            annotations += parts.number
    lists = {b"images": b",".join(entries), b"categories": categories, b"problems": b",".join(problems)}
    yield b"]" + b"".join(b',"%s":[%s]' % item for item in lists.items()) + b"}"


async def zip_file(outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """Yields a zip file as it grows. Its members are stored without compression, because masks are compressed already.

    A cut-out without an object has no member. The last member is `RESULTS`, with a row for each image.
    """
    pipe, rows = _Pipe(), list[bytes]()
    async with aclosing(outcomes):
        with zipfile.ZipFile(pipe, "w") as archive:
            async for outcome in outcomes:
                member = None
                if outcome.is_problem or outcome.facts.get("box", True):
                    stem = PurePath(outcome.file).stem.replace("\\", "_")  # Windows would take it for folders
                    member = f"{outcome.index:03d}-{stem}{outcome.suffix}"
                    await asyncio.to_thread(archive.writestr, zipfile.ZipInfo(member), outcome.body)
                rows.append(json_bytes(_row(outcome, member)) + b"\n")
                yield pipe.take()
            await asyncio.to_thread(archive.writestr, zipfile.ZipInfo(RESULTS), b"".join(rows))
            await asyncio.to_thread(archive.close)  # which writes a line for each member
        yield pipe.take()


def _row(outcome: Outcome, member: str | None) -> dict[str, Any]:
    """What is known of an image beside its picture."""
    problem = json.loads(outcome.body) if outcome.is_problem else None
    return outcome.heading | {"member": member, **outcome.row, "problem": problem}


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """The value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


class _Pipe(io.BytesIO):
    """A file that keeps written data until `take` returns it.

    `zipfile` seeks back in it to write a member's size before the member; without that, some readers cannot read a zip as a
    stream.
    """

    _start = 0  # of the data that it keeps, in all the data ever written

    def tell(self) -> int:
        return self._start + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._start + super().seek(offset - self._start, whence)  # raises `ValueError` for data that is gone

    def take(self) -> bytes:
        """Returns and forgets the data written since the last call."""
        data = self.getvalue()
        self._start += len(data)
        super().seek(0)
        self.truncate()
        return data
