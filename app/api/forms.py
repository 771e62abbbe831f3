"""Reads multipart forms: the images in them, and the fields that are named like parameters."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from io import FileIO
from tempfile import TemporaryFile

from starlette.concurrency import run_in_threadpool

from app.api.body import IMAGE_COPIES, NO_ROOM, PIECE, RequestBody
from app.api.errors import BadRequest, TooLarge, Unavailable
from app.api.form_parser import FIELDS, MAX_FIELDS, FormParser, boundary_of, from_first_boundary, unreadable
from app.api.query import QUERY_PARAMETERS, Query, form_values
from app.serving.photos import Upload
from model.inference.processes.blob import Blob

MEDIA_TYPE = "multipart/form-data"
MAX_FILES = 100
SPOOL_BYTES = 1 << 16  # a batch's files of up to this many bytes are kept in memory, larger ones on disk
TOO_MANY = f"it has more than {MAX_FILES + MAX_FIELDS} parts"
log = logging.getLogger("segment")


async def read_form_image(body: RequestBody, query: Query, fields: Sequence[str] = FIELDS) -> tuple[Upload, Query]:
    """Reads a form with one image, which is kept in memory, not checked. Raises as `read_form`."""
    uploads, query = await read_form(body, query, body.limit, fields)
    if len(uploads) > 1 and any(upload.body.length for upload in uploads):
        raise BadRequest(f"the form has {len(uploads)} images, and /segment takes one; send several to /segment/batch")
    return uploads[0], query


async def read_form(
    body: RequestBody, query: Query, spool_bytes: int, fields: Sequence[str] = FIELDS
) -> tuple[list[Upload], Query]:
    """Reads a form: its images in their order, not checked, and the query with the fields that are named like parameters.

    fields: the two names of fields that hold images.

    Images of more than `spool_bytes` bytes are kept on disk. Other fields are ignored, unless a name resembles a parameter's.
    Raises as `RequestBody` and `FormParser`; `TooLarge` for more than `MAX_FILES` images, `BadParameter`, `Unavailable`.
    """
    boundary, growing, contents = boundary_of(body.request), 0, list[_Content]()
    with ExitStack() as stack:

        def open_image(number: int) -> Callable[[bytes], object]:
            check_number(number + 1)
            contents.append(_Content(spool_bytes, body.reservation.add_file, stack))
            return contents[-1].write

        form = FormParser(boundary, open_image, fields, QUERY_PARAMETERS)
        chunks = body.chunks(lambda count: min(IMAGE_COPIES * count, MAX_FILES * spool_bytes))
        try:
            async for chunk in from_first_boundary(chunks, boundary, MAX_FILES + MAX_FIELDS, lambda: unreadable(TOO_MANY)):
                form.write(chunk)
                for content in contents[growing:]:
                    if content.size > spool_bytes:
                        await finished(run_in_threadpool(content.spool))
                growing = max(0, len(contents) - 1)
        except OSError as error:
            log.error("a form's files could not be kept on disk: %s", error)
            body.reservation.close_slow_batches()
            raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM, "disk") from error
        form.end()
        query = form_values(query, form.fields)
        images = zip(form.images, contents, strict=True)
        return [Upload(await content.keep(body), name, bool(content.disk)) for name, content in images], query


async def finished(work: Awaitable[None]) -> None:
    """Waits for work in a thread, also if the caller is cancelled: else the caller would close a file under the thread."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait([task])


class _Content:
    """The bytes of an image: in pieces in memory, since one buffer would be copied as it grows, or on disk.

    spool_bytes: the most in memory. add_file: counts a file that will lie on disk. stack: closes it.
    """

    def __init__(self, spool_bytes: int, add_file: Callable[[], None], stack: ExitStack) -> None:
        self.size, self._pieces = 0, deque([bytearray()])
        self.disk: FileIO | None = None
        self._spool_bytes, self._add_file, self._stack = spool_bytes, add_file, stack

    def write(self, data: bytes) -> None:
        if self.size <= self._spool_bytes < self.size + len(data):
            self._add_file()
        self.size += len(data)
        self._pieces[-1] += data
        if len(self._pieces[-1]) >= PIECE:
            self._pieces.append(bytearray())

    def spool(self) -> None:
        """Moves the pieces to the disk. For a thread. Raises `OSError`."""
        self.disk = self.disk or self._stack.enter_context(TemporaryFile(buffering=0))  # noqa: SIM115
        for piece in self._pieces:
            while piece:
                del piece[: self.disk.write(piece)]
        self._pieces = deque([bytearray()])

    async def keep(self, body: RequestBody) -> Blob:
        """The bytes, which the request's reservation closes. A worker reads those on disk from there. Raises `Unavailable`."""
        if not self.disk:
            return await body.keep(self._turns(body))
        blob = Blob(b"", os.dup(self.disk.fileno()), self.size)
        self.disk.close()  # so that each image has one open file
        body.reservation.callback(blob.close)
        return blob

    async def _turns(self, body: RequestBody) -> AsyncGenerator[bytes, None]:
        while self._pieces:
            await body.turn()
            yield bytes(self._pieces.popleft())


def check_number(images: int) -> None:
    """Raises `TooLarge` if so many images are more than a request may have."""
    if images > MAX_FILES:
        raise TooLarge(f"the request has more than {MAX_FILES} images, which is the limit; send fewer at once")
