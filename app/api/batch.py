"""`POST /segment/batch`: several images in one request, each with its own answer or error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.body import DEFAULT_NAME, RequestBody, media_type
from app.api.errors import BadRequest, explain
from app.api.forms import MEDIA_TYPE, SPOOL_BYTES, read_form
from app.api.query import Parameters, Query, make_options
from app.api.schemas import BATCH_ROUTE
from app.api.segment import Ready
from app.serving.jobs.job import MEDIA_TYPES
from app.serving.photos import Outcomes, PhotoTask, Upload, photo_outcomes
from app.serving.results import WRITERS, Writer, result_names
from app.serving.service import Service

router = APIRouter(tags=["segmentation"])


@router.post("/segment/batch", summary="Segment several images", **BATCH_ROUTE)
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
    output = "coco" if rendering.format == "coco" else "jsonl" if rendering.is_json else "zip"
    names = result_names([upload.name for upload in uploads], output)
    headers = {"Content-Disposition": 'attachment; filename="masks.zip"'} if output == "zip" else {}
    content = pieces(image_outcomes(request, service, query, uploads, names), WRITERS[output]())
    return BatchResponse(content, media_type=MEDIA_TYPES[output][1], headers=headers)


class BatchResponse(StreamingResponse):
    """Sends what a generator yields, then closes it in every case. Else it would stay open until it is garbage collected."""

    def __init__(self, content: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(content, **options)
        self.content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.content):
            await super().__call__(scope, receive, send)


def image_outcomes(
    request: Request, service: Service, query: Query, uploads: Sequence[Upload], names: Sequence[str]
) -> Outcomes:
    """The outcomes of a request's images, as `photo_outcomes` yields them, with these names of their files.

    The request's log line gets the number of images, how many failed, and the sizes of the others. Raises as `make_options`.
    """
    state, options = request.state, make_options(service.settings, query, DEFAULT_NAME)
    state.answer_fields = {"format": query["format"], "images": len(uploads), "failed": 0, "sizes": ""}
    task = PhotoTask(options, query.get("model"), state.log_fields, partial(explain, service, state.request_id))
    return photo_outcomes(service, task, uploads, names, state.reservation, state.answer_fields)


async def pieces(outcomes: Outcomes, writer: Writer) -> AsyncGenerator[bytes, None]:
    """Yields the pieces of the writer's result. Each is made in a thread, since it is of a client's size."""
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield await asyncio.to_thread(writer.add, outcome)
        yield await asyncio.to_thread(b"".join, writer.rest())
