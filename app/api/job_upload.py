"""The body of a job, which streams to the disk: a file, or a form with files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, closing
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from app.api.body import DEFAULT_NAME, RequestBody, media_type
from app.api.errors import BadRequest, EmptyBody, TooLarge
from app.api.forms import (
    CUT_OFF,
    FIELD_BYTES,
    FIELDS,
    MAX_FIELDS,
    MEDIA_TYPE,
    boundary_of,
    delimiter_of,
    file_name,
    from_first_boundary,
    part_options,
    unreadable,
)
from app.serving.jobs.job import upload_path
from common.printable import VALUE_LENGTH, printable
from model.inference.scenes.request import EXTENT_BYTES

MOST_FILES = 10_000  # of a form
TOO_MANY = f"the form has more than {MOST_FILES} files, which is the limit; send several jobs"
WRITE_BYTES = 1 << 20  # that are written at once
FORM_BYTES = 1 << 16  # of a form that are read in a turn: some hundred files
MEMORY_BYTES = 4 << 20  # of an upload, whatever its size
MOST_S = 86_400.0  # that an upload may take; its rate has a limit besides


class JobUpload(NamedTuple):
    """What came: the names of the files, which lie in the folder by their numbers, the form's fields, and the body's bytes."""

    names: list[str]
    fields: list[tuple[str, str]]
    bytes: int = 0


async def receive_upload(
    body: RequestBody,
    folder: Path,
    check_room: Callable[[int, int], Awaitable[None]],
    turn: Callable[[], AbstractAsyncContextManager[None]],
) -> JobUpload:
    """Writes the files of the body below the job's folder, as `upload_path` names them.

    check_room: raises if there is no room for so many bytes and files. turn: of the client at writing. One upload is written
    at a time, for at most half of a core: a form of many files takes the interpreter, which requests need. Raises as
    `RequestBody`; `BadRequest` for a broken form, `EmptyBody`, `TooLarge` for more than `MOST_FILES` files, `OSError`, and what
    `check_room` raises.
    """
    upload = JobUpload([], [])
    chunks, pieces, delimiter = body.chunks(lambda _: MEMORY_BYTES), bytearray(), b""
    count = 0
    writer: _Form | BinaryIO

    async def write() -> None:
        nonlocal count
        count, parts = count + len(pieces), pieces.count(delimiter) if delimiter else 0
        await check_room(count, min(MOST_FILES, len(upload.names) + parts))
        size = FORM_BYTES if delimiter else len(pieces)
        while pieces:
            async with turn():
                await asyncio.sleep(await asyncio.to_thread(timed_write, bytes(pieces[:size])))
            del pieces[:size]

    def timed_write(data: bytes) -> float:
        start = time.thread_time()
        writer.write(data)
        return time.thread_time() - start

    try:
        if media_type(body.request) == MEDIA_TYPE:
            boundary = boundary_of(body.request)
            delimiter = delimiter_of(boundary)
            chunks = from_first_boundary(chunks, boundary, MOST_FILES + MAX_FIELDS, lambda: TooLarge(TOO_MANY))
            writer = _Form(boundary, folder, upload)
        else:
            upload.names.append(DEFAULT_NAME)
            writer = upload_path(folder, 0).open("wb")
        with closing(writer):
            async for chunk in chunks:
                pieces += chunk
                if len(pieces) >= WRITE_BYTES:
                    await write()
            await write()
            if isinstance(writer, _Form) and not writer.has_ended:
                raise FormParserError(CUT_OFF)
    except FormParserError as error:
        raise unreadable(str(error)) from error
    async with turn():
        sizes = await asyncio.to_thread(lambda: [upload_path(folder, i).stat().st_size for i in range(len(upload.names))])
    if not any(sizes):
        raise EmptyBody("no file came, or only empty ones; send a file as the body, or as `file` of a form")
    return upload._replace(bytes=count)


class _Form:
    """Writes the files of a form. Each has a number for a name; what the client calls them is a text.

    has_ended: whether its closing boundary has come.
    """

    def __init__(self, boundary: bytes, folder: Path, upload: JobUpload) -> None:
        self._folder, self._upload, self.has_ended = folder, upload, False
        self._header, self._options, self._name = b"", dict[bytes, bytes](), ""
        self._part: BinaryIO = BytesIO()
        self._parser = MultipartParser(boundary, {
            "on_header_value": self._add_header, "on_header_end": self._end_header, "on_headers_finished": self._begin_part,
            "on_part_data": self._add_data, "on_part_end": self._end_part, "on_end": self._end,
        })  # fmt: skip

    def write(self, data: bytes) -> None:
        self._parser.write(data)

    def close(self) -> None:
        self._part.close()

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _end_header(self) -> None:
        disposition, options = part_options(self._header)
        if disposition == b"form-data":
            self._options = options
        self._header = b""

    def _begin_part(self) -> None:
        """Opens a new file for a file. A field, and what is not read, stays in memory."""
        options, self._options = self._options, {}
        self._name = options.get(b"name", b"").decode(errors="replace")
        name, names = options.get(b"filename"), self._upload.names
        if self._name == "extent" and "extent" in dict(self._upload.fields):  # which may be long
            raise BadRequest("the form's field extent comes twice; give it once")
        if self._name in FIELDS and name is None:
            raise BadRequest("the form's field for a file came as a text; send the file itself: -F file=@scene.tif")
        if self._name in FIELDS and name is not None:
            if len(names) >= MOST_FILES:
                raise TooLarge(TOO_MANY)
            self._part = upload_path(self._folder, len(names)).open("wb")
            names.append(file_name(name.decode(errors="replace")))
        else:
            self._part = BytesIO()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._part.write(data[start:end])
        most = EXTENT_BYTES if self._name == "extent" else FIELD_BYTES
        if isinstance(self._part, BytesIO) and self._part.tell() > most:
            raise TooLarge(f"the form's field {printable(self._name, VALUE_LENGTH)} has more than {most} bytes")

    def _end_part(self) -> None:
        if isinstance(self._part, BytesIO):
            self._upload.fields.append((self._name, self._part.getvalue().decode(errors="replace")))
            if len(self._upload.fields) > MAX_FIELDS:
                raise TooLarge(f"the form has more than {MAX_FIELDS} fields, which is the limit; leave some out")
        self._part.close()

    def _end(self) -> None:
        self.has_ended = True
