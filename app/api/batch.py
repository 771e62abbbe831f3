"""`POST /segment/batch`: several images in one request, each with an answer or an error of its own."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import zipfile
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import BATCH_PROBLEMS, Problem, TooLarge, document, mapped_errors, unexpected
from app.api.examples import batch_body, batch_responses
from app.api.schemas import SegmentQuery
from app.api.segment import PIECE_BYTES, Ready, answered, image_limits, make_options, upload_limits
from app.api.uploads import base_name, check_files, images, read_form, spooled_body
from app.connections import connection_abort
from app.serving.budget import Budget, MemoryUse
from app.serving.service import Job, Service
from imaging.rendering import Format
from model.inference.worker import Image

router = APIRouter()
AHEAD = 4  # images of one request that are worked on at once: enough to keep the runtime busy
LINES = "application/x-ndjson"
log = logging.getLogger("segment")


@dataclass(frozen=True)
class Outcome:
    """What became of one image: the answer's bytes, or a problem."""

    index: int
    file: str
    suffix: str
    body: bytes
    memory: MemoryUse
    problem: Problem | None = None


Outcomes = AsyncGenerator[Outcome, None]


@router.post(
    "/segment/batch",
    summary="Segment several images",
    response_class=Response,
    response_model=None,
    responses=batch_responses(BATCH_PROBLEMS),
    openapi_extra=batch_body(),
)
async def segment_batch(request: Request, service: Ready, query: Annotated[SegmentQuery, Query()]) -> Response:
    """Answers each field `file` of a form in turn; a bad image answers its own error, and the others are done.

    With `format=json` (the default) or `coco`, a line of JSON for each as soon as it is done; else a zip.
    """
    settings = service.settings
    form = await read_form(request, upload_limits(request, service, settings.max_batch_mb))
    try:
        parts = images(form)
        await check_files(parts)
    except Problem:
        await form.close()
        raise
    service.admission.release(request.state.reservation, done=False)  # each image makes a reservation of its own
    outcomes = _outcomes(request, service, query, parts)
    if (query.format or "json") in ("json", "coco"):
        return BatchResponse(_lines(request, outcomes), form, service.budget, media_type=LINES)
    headers = {"Content-Disposition": 'attachment; filename="masks.zip"'}
    return BatchResponse(_zip(request, outcomes), form, service.budget, media_type="application/zip", headers=headers)


class BatchResponse(StreamingResponse):
    """Answers what a generator yields. However that ends, closes the generator, which else were the collector's matter, and the
    form."""

    def __init__(self, content: AsyncGenerator[bytes, None], form: FormData, budget: Budget, **options: Any) -> None:
        super().__init__(content, **options)
        self.content, self.form, self.budget = content, form, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            sending.sent += len(message.get("body", b""))
            await send(message)

        try:
            with self.budget.sending(asyncio.get_running_loop().time(), connection_abort()) as sending:
                await super().__call__(scope, receive, send_counted)
        finally:
            await self.content.aclose()
            await self.form.close()


async def _outcomes(request: Request, service: Service, query: SegmentQuery, parts: Sequence[UploadFile]) -> Outcomes:
    """In the order of the parts, a few ahead."""
    waiting = deque(enumerate(parts))
    running: deque[asyncio.Task[Outcome]] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD:
                running.append(asyncio.create_task(_outcome(request, service, query, *waiting.popleft())))
            outcome = await running[0]  # and not taken out before: it may be done when this is cancelled
            running.popleft()
            try:
                yield outcome
            finally:  # also where the client goes before it has all of it
                service.budget.end(outcome.memory)
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(partial(_release, service))


def _release(service: Service, task: asyncio.Task[Outcome]) -> None:
    """Of an outcome that nobody has taken."""
    if not task.cancelled() and not task.exception():
        service.budget.end(task.result().memory)


async def _outcome(request: Request, service: Service, query: SegmentQuery, index: int, part: UploadFile) -> Outcome:
    format: Format = query.format or "json"
    memory = MemoryUse()
    try:
        if (part.size or 0) > service.settings.max_upload_mb * 1e6:
            raise TooLarge(f"the file is larger than {service.settings.max_upload_mb:g} MB; send a smaller one")
        with mapped_errors():
            reservation = service.reserve()
            memory = reservation.memory
            try:
                service.budget.hold_body(memory, part.size or 0)
                body = await spooled_body(part)
                options = make_options(service, query, format, base_name(part))
                about = request.state.known | {"index": index, "format": format}
                image = Image(body, options, image_limits(service), about=about)
                answer = await answered(request, service, Job(image, query.model, reservation))
            except BaseException:
                service.admission.release(reservation, done=False)
                raise
            try:
                data = answer.body.read(answer.body.length)
            finally:
                answer.body.close()
            return Outcome(index, base_name(part), options.rendering.suffix, data, memory)
    except Problem as problem:
        return _failed(service, index, part, memory, problem)
    except Exception as error:  # here a request ends, as far as this image is concerned
        log.error("unexpected error", exc_info=error, extra={"fields": request.state.known | {"index": index}})
        return _failed(service, index, part, memory, unexpected(error, service))
    except BaseException:
        service.budget.end(memory)
        raise


def _failed(service: Service, index: int, part: UploadFile, memory: MemoryUse, problem: Problem) -> Outcome:
    """The outcome of an image that got a problem for an answer; its bytes are given back, and its reason counted."""
    service.budget.end(memory)
    if problem.reason:
        service.metrics.rejected(problem.reason)
    return Outcome(index, base_name(part), ".problem.json", b"", memory, problem)


async def _lines(request: Request, outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    async with aclosing(outcomes):
        async for outcome in outcomes:
            problem = outcome.problem
            facts = {"index": outcome.index, "file": outcome.file, "status": problem.status if problem else 200}
            head = json.dumps(facts, separators=(",", ":"))[:-1].encode()
            name, body = (b"problem", _problem(request, problem)) if problem else (b"answer", outcome.body)
            for piece in _pieces(head + b',"' + name + b'":' + body + b"}\n"):
                yield piece


async def _zip(request: Request, outcomes: Outcomes) -> AsyncGenerator[bytes, None]:
    """A zip file as it grows; its members are stored, since masks are compressed already."""
    pipe = _Pipe()
    async with aclosing(outcomes):
        with zipfile.ZipFile(pipe, "w") as archive:
            async for outcome in outcomes:
                body = _problem(request, outcome.problem) if outcome.problem else outcome.body
                name = f"{outcome.index:03d}-{PurePath(outcome.file).stem}{outcome.suffix}"
                archive.writestr(zipfile.ZipInfo(name), body)
                for piece in _pieces(pipe.take()):
                    yield piece
        yield pipe.take()


def _pieces(data: bytes) -> Iterator[bytes]:
    """Of `PIECE_BYTES` each, but for the last."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _problem(request: Request, problem: Problem) -> bytes:
    return json.dumps(document(type(problem), problem.detail, request.state.request_id), separators=(",", ":")).encode()


class _Pipe(io.RawIOBase):
    """Keeps what is written until it is taken. `zipfile` goes back in it to write a member's size before the member, without
    which some readers cannot take a zip as it comes."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._begins = self._at = 0  # in the whole of what was written

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._begins:
            raise io.UnsupportedOperation(f"what was written before {self._begins} is gone, got {offset} ({whence})")
        self._at = offset
        return offset

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        start = self._at - self._begins
        self._kept[start : start + view.nbytes] = view
        self._at += view.nbytes
        return view.nbytes

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._begins += len(taken)
        self._kept.clear()
        return taken
