"""`POST /segment/batch`: several images in one request, each with its own answer or error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.batch_bodies import Outcome, Outcomes, coco_document, json_lines, zip_file
from app.api.errors import BATCH_PROBLEMS, Problem, TooLarge, mapped_errors, unexpected_problem
from app.api.examples import batch_body, batch_responses
from app.api.forms import DEFAULT_NAME, SPOOL_BYTES, base_name, check_files, distinct_names, images
from app.api.parameters import Parameters, form_values, with_values
from app.api.schemas import SegmentQuery
from app.api.segment import Ready, image_limits, make_options, segment, upload_limits
from app.api.uploads import read_form, spooled_body
from app.serving.reservation import Reservation
from app.serving.service import Service
from model.inference.processes.protocol import Image

router = APIRouter()
AHEAD = 4  # images of one request in work at once: enough to keep the runtime busy
LINES = "application/x-ndjson"
log = logging.getLogger("segment")


@router.post(
    "/segment/batch",
    summary="Segment several images",
    response_class=Response,
    response_model=None,
    responses=batch_responses(BATCH_PROBLEMS),
    openapi_extra=batch_body(),
)
async def segment_batch(request: Request, service: Ready, query: Parameters) -> Response:
    """Segments each field `file` of a form, and answers in their order. A bad image gets an error of its own.

    Form fields that are named like parameters work as in the query. With `format=json` (the default) or `hf` the answer has
    one line of JSON for each image, sent as soon as it is done. With `coco` it is one COCO document. Otherwise it is a zip.
    """
    settings = service.settings
    form = await read_form(request, upload_limits(request, service, settings.max_batch_mb, "SEGMENT_MAX_BATCH_MB"))
    try:
        query = with_values(query, form_values(form), "form field")
        options = make_options(service, query, query.format or "json", DEFAULT_NAME)  # raises before the answer begins
        parts = images(form)
        await check_files(parts)
        for _, part in form.multi_items():
            if isinstance(part, UploadFile) and part not in parts:
                await part.close()
    except Problem:
        await form.close()
        raise
    names = [base_name(part) for part in parts]
    if options.rendering.is_json:  # the members of a zip have numbers
        names = distinct_names(names)
    outcomes = image_outcomes(request, service, query, parts, names)
    if options.rendering.format == "coco":
        return BatchResponse(coco_document(request, outcomes), form, media_type=options.rendering.media_type)
    if options.rendering.is_json:
        return BatchResponse(json_lines(request, outcomes), form, media_type=LINES)
    headers = {"Content-Disposition": 'attachment; filename="masks.zip"'}
    return BatchResponse(zip_file(request, outcomes), form, media_type="application/zip", headers=headers)


class BatchResponse(StreamingResponse):
    """Sends what a generator yields, then closes the generator and the form in every case.

    Without this, the generator would stay open until it is garbage collected.
    """

    def __init__(self, content: AsyncGenerator[bytes, None], form: FormData, **options: Any) -> None:
        super().__init__(content, **options)
        self.content, self.form = content, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.content.aclose()
            await self.form.close()


async def image_outcomes(
    request: Request, service: Service, query: SegmentQuery, parts: Sequence[UploadFile], names: Sequence[str]
) -> Outcomes:
    """Yields the outcomes in the order of the parts, with these names of their files. Works on up to `AHEAD` parts at once.

    From now on each part has a reservation of its own instead of the request's, and is closed once its image is in work.
    The request's log line gets the number of images, how many failed, and the sizes of the others.
    """
    facts: dict[str, Any] = {"format": query.format or "json", "images": len(parts), "failed": 0, "sizes": ""}
    request.state.log = facts
    reservations = service.split(request.state.client, request.state.reservation, len(parts))
    images = [_PartImage(*each) for each in zip(range(len(parts)), names, parts, reservations, strict=True)]
    slots = asyncio.Semaphore(AHEAD)
    tasks = [image.start(request, service, query, slots) for image in images]
    try:
        with mapped_errors():
            for image in images:
                image.count(service)
        for image in images:
            outcome = await image.outcome
            facts["failed"] += outcome.problem is not None
            if answer := outcome.answer:
                facts["sizes"] = f"{facts['sizes']} {answer.size[1]}x{answer.size[0]}".lstrip()
            yield outcome
            image.is_sent.set()
    finally:
        for task in tasks:
            task.cancel()


class _PartImage:
    """An image of a form. Its reservation is closed when its task ends: once its outcome is sent, or when it is cancelled."""

    def __init__(self, index: int, name: str, part: UploadFile, reservation: Reservation) -> None:
        self.index, self.name, self.part, self.reservation = index, name, part, reservation
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.is_sent = asyncio.Event()

    def start(self, request: Request, service: Service, query: SegmentQuery, slots: asyncio.Semaphore) -> asyncio.Task[None]:
        """The task that works on the image, once it has one of the slots."""
        task = asyncio.create_task(self._run(request, service, query, slots))
        task.add_done_callback(self._end)
        return task

    def count(self, service: Service) -> None:
        """Counts the part's file or memory until its image is in work. Raises `QueueFull`."""
        size = self.part.size or 0
        is_on_disk = size > SPOOL_BYTES
        service.budget.hold_files(self.reservation, int(is_on_disk))
        service.budget.hold_body(self.reservation, 0 if is_on_disk else size)

    async def _run(self, request: Request, service: Service, query: SegmentQuery, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                outcome = await self._answer(request, service, query)
            except Problem as problem:
                outcome = self._failure(service, query, problem)
            except Exception as error:  # an unexpected error of one image must not end the others
                log.error("unexpected error", exc_info=error, extra={"fields": request.state.known | {"index": self.index}})
                outcome = self._failure(service, query, unexpected_problem(error, service))
            if not self.outcome.cancelled():  # a cancelled one has nobody who waits for it
                self.outcome.set_result(outcome)
                await self.is_sent.wait()

    def _end(self, _: asyncio.Task[None]) -> None:
        self.reservation.close()
        self.outcome.cancel()  # does nothing if there is one; else whoever waits for it goes on

    async def _answer(self, request: Request, service: Service, query: SegmentQuery) -> Outcome:
        part, reservation, format = self.part, self.reservation, query.format or "json"
        try:
            if (part.size or 0) > service.settings.max_upload_mb * 1e6:
                advice = "send a smaller one; the operator can raise SEGMENT_MAX_UPLOAD_MB"
                raise TooLarge(f"the file is larger than {service.settings.max_upload_mb:g} MB; {advice}")
            with mapped_errors():
                service.admission.reserve(reservation, service.deadline())
                service.budget.hold_body(reservation, part.size or 0)
                body = await spooled_body(part, reservation)
                options = make_options(service, query, format, base_name(part))
                about = request.state.known | {"index": self.index, "format": format}
                image = Image(body, options, image_limits(service), about=about)
                answer, facts = await segment(request, service, image, query.model, reservation)
        finally:
            await part.close()
        data = answer.body.read(answer.body.length)
        answer.body.close()
        return Outcome(self.index, self.name, options.rendering.suffix, data, answer=answer, facts=facts)

    def _failure(self, service: Service, query: SegmentQuery, problem: Problem) -> Outcome:
        """The outcome of an image with a problem, which holds nothing more. Counts the problem's reason."""
        self.reservation.close()
        # its frames refer to this image, which refers to the outcome: a cycle that keeps memory in use
        problem.__traceback__ = problem.__cause__ = problem.__context__ = None
        if problem.reason:
            service.metrics.count_rejection(problem.reason)
        facts: dict[str, Any] = {"box": None} if query.format == "cutout" else {}
        if seconds := problem.headers.get("Retry-After"):
            facts["retry_after"] = int(seconds)
        return Outcome(self.index, self.name, ".problem.json", b"", problem, facts=facts)
