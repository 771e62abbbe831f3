"""The body of a job, which streams to the disk: a file, or a form with files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from app.api.body import DEFAULT_NAME, RequestBody, media_type
from app.api.errors import BadRequest, EmptyBody, TooLarge
from app.api.form_parser import FIELDS, MAX_FIELDS, FormParser, boundary_of, delimiter_of, from_first_boundary
from app.api.forms import MEDIA_TYPE
from app.api.job_schemas import JOB_PARAMETERS
from app.serving.jobs.job import upload_path
from common.printable import VALUE_LENGTH, printable
from model.inference.scenes.request import EXTENT_BYTES

MOST_FILES = 10_000  # of a form
TOO_MANY = f"the form has more than {MOST_FILES} files, which is the limit; send several jobs"
WRITE_BYTES = 1 << 20  # that are written at once
FORM_BYTES = 1 << 16  # of a form that are read in a turn: some hundred files
MEMORY_BYTES = 4 << 20  # of memory that an upload counts for, whatever its size
MOST_S = 86_400.0  # that an upload may take; its rate has a limit besides


class JobUpload(NamedTuple):
    """What came: the names of the files, which lie in the folder by their numbers, the form's fields, and the body's bytes."""

    names: list[str]
    fields: list[tuple[str, str]]
    bytes: int


async def receive_upload(
    body: RequestBody,
    folder: Path,
    check_room: Callable[[int, int], Awaitable[None]],
    turn: Callable[[], AbstractAsyncContextManager[None]],
) -> JobUpload:
    """Writes the files of the body below the job's folder, as `upload_path` names them.

    check_room: raises if there is no room for so many bytes and files. turn: waits for the client's turn to write, and holds it
    for the block. One upload is written at a time, for at most half of a core: a form of many files takes the interpreter,
    which requests need.
    Raises as `RequestBody`; `BadRequest` for a broken form, `EmptyBody`, `TooLarge` for more than `MOST_FILES` files,
    `OSError`, and what `check_room` raises.
    """
    chunks, pieces, count = body.chunks(lambda _: MEMORY_BYTES), bytearray(), 0
    file = ExitStack()  # closes the file that is written

    def open_file(number: int) -> Callable[[bytes], object]:
        if number == MOST_FILES:
            raise TooLarge(TOO_MANY)
        file.close()
        return file.enter_context(upload_path(folder, number).open("wb")).write

    form, delimiter = None, b""
    if media_type(body.request) == MEDIA_TYPE:
        boundary = boundary_of(body.request)
        form = FormParser(boundary, open_file, FIELDS, JOB_PARAMETERS, {"extent": EXTENT_BYTES})
        chunks = from_first_boundary(chunks, boundary, MOST_FILES + MAX_FIELDS, lambda: TooLarge(TOO_MANY))
        delimiter = delimiter_of(boundary)
    write_piece: Callable[[bytes], object] = form.write if form else open_file(0)

    def timed_write(data: bytes) -> float:
        start = time.thread_time()
        write_piece(data)
        return time.thread_time() - start

    async def write() -> None:
        nonlocal count
        count, parts = count + len(pieces), pieces.count(delimiter) if form else 0
        await check_room(count, min(MOST_FILES, parts + (len(form.images) if form else 1)))
        size = FORM_BYTES if form else len(pieces)
        while pieces:
            async with turn():
                await asyncio.sleep(await asyncio.to_thread(timed_write, bytes(pieces[:size])))
            del pieces[:size]

    with file:
        async for chunk in chunks:
            pieces += chunk
            if len(pieces) >= WRITE_BYTES:
                await write()
        await write()
    if form:
        form.end()
        if form.other_files:
            name = printable(form.other_files[0], VALUE_LENGTH)
            raise BadRequest(f"the form's field {name} has a file; send every file as `file`: -F file=@scene.tif")
    names = form.images if form else [DEFAULT_NAME]
    async with turn():
        sizes = await asyncio.to_thread(lambda: [upload_path(folder, number).stat().st_size for number in range(len(names))])
    if not any(sizes):
        raise EmptyBody("no file came, or only empty ones; send a file as the body, or as `file` of a form")
    return JobUpload(names, form.fields if form else [], count)
