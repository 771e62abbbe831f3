"""Reads multipart forms: the images in them, and the fields that are named like parameters."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from math import inf

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.body import DEFAULT_NAME, IMAGE_COPIES, NO_ROOM, PIECE, RequestBody
from app.api.errors import BadRequest, Problem, TooLarge, Unavailable
from app.api.query import Query, form_values
from app.serving.photos import Upload
from common.printable import excerpt
from model.inference.processes.blob import Blob

MEDIA_TYPE = "multipart/form-data"
FIELDS = ("file", "image")
LONGEST_NAME = 255  # characters of a file's name, as on file systems; only the end of a longer name is used
MAX_FILES = 100
MAX_FIELDS, FIELD_BYTES = 40, 4096  # limits on form fields that are not files: parameters, and what is not read
MOST_OPTIONS = 64  # of a part's header; names of files may have semicolons
TEXT_BYTES = 1024  # of a field for an image that is checked for being text, which no image is
SPOOL_BYTES = 1 << 16  # a batch's files of up to this many bytes are kept in memory, larger ones on disk
TOO_MANY = f"it has more than {MAX_FILES + MAX_FIELDS} parts"
CUT_OFF = "it is cut off: its closing boundary is missing"
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

    fields: two names, each of which an image may have.

    Files of more than `spool_bytes` bytes are kept on disk. Other fields have no effect, unless their names are nearly those.
    Raises as `RequestBody`; `BadRequest` for a broken form or one without an image, `TooLarge` for more than `MAX_FILES`
    images, `BadParameter`, `Unavailable`.
    """
    # only the boundary is passed on: names are UTF-8 (RFC 7578, section 5.1.2), and a client's charset could select any codec
    boundary = boundary_of(body.request)
    headers = Headers({"content-type": f'{MEDIA_TYPE}; boundary="{boundary.decode("latin-1")}"'})

    async def whole() -> AsyncGenerator[bytes, None]:
        chunks = body.chunks(lambda count: min(IMAGE_COPIES * count, MAX_FILES * spool_bytes))
        async for chunk in from_first_boundary(chunks, boundary, MAX_FILES + MAX_FIELDS, lambda: unreadable(TOO_MANY)):
            yield chunk
        if not parser.has_ended:
            raise MultiPartException(CUT_OFF)

    parser = _Parser(headers, whole(), max_files=inf, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    parser.spool_max_size, parser.on_file, parser.fields = spool_bytes, body.reservation.add_file, fields
    parser.is_in_memory = spool_bytes >= body.limit
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise unreadable(error.message) from error
    except OSError as error:
        log.error("a form's files could not be kept on disk: %s", error)
        body.reservation.close_slow_batches()
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM, "disk") from error
    try:
        query = form_values(query, form.multi_items())
        parts = [part for name, part in form.multi_items() if name in fields and isinstance(part, UploadFile)]
        if not parts:
            names = ", ".join(sorted(form)) or "none"
            raise BadRequest(f"no file in a field `{fields[0]}` (or `{fields[1]}`) of the form; fields that came: {names}")
        # browsers send a file without a name and without bytes for a field in which no file was chosen
        files = [part for part in parts if part.filename or part.size] or parts
        return [await _upload(part, body, spool_bytes) for part in files], query
    finally:
        await form.close()


async def _upload(part: UploadFile, body: RequestBody, spool_bytes: int) -> Upload:
    """The upload of a form's file. If that is on disk, a worker reads it from there. Raises `BadRequest` for a text."""
    name = file_name(part.filename or "")
    size = part.size or 0
    if is_on_disk := size > spool_bytes:
        blob = Blob(b"", os.dup(part.file.fileno()), size)
        body.reservation.callback(blob.close)
    else:
        blob = await body.keep(_pieces(part, body))
    text = "" if part.filename or size > TEXT_BYTES else blob.read(size).decode(errors="replace")
    if text and not {"\0", "\ufffd"} & {*text}:
        message = f"the form's field for the image came as the text {excerpt(text)}, and not as a file"
        raise BadRequest(f"{message}; send the file itself, with curl: -F file=@photo.jpg")
    return Upload(blob, name, is_on_disk)


async def _pieces(part: UploadFile, body: RequestBody) -> AsyncGenerator[bytes, None]:
    while piece := await part.read(PIECE):
        await body.turn()
        yield piece


def file_name(text: str) -> str:
    """The name of a form's file, as its reader gives it: what stands behind the last `/`, at most `LONGEST_NAME` characters.

    The reader leaves out the folders of a Windows path that begins with a drive, and this function those of one that begins
    with a backslash; any other backslash is a part of the name. Browsers write a quotation mark as `%22` (HTML, 4.10.22.8).
    """
    if text.startswith("\\"):
        text = text.rsplit("\\", 1)[-1]
    return text.rsplit("/", 1)[-1].replace("%22", '"')[-LONGEST_NAME:] or DEFAULT_NAME


def check_number(images: int) -> None:
    """Raises `TooLarge` if so many images are more than a request may have."""
    if images > MAX_FILES:
        raise TooLarge(f"the request has more than {MAX_FILES} images, which is the limit; send fewer at once")


def boundary_of(request: Request) -> bytes:
    """The boundary of the request's form. Raises `BadRequest` if it names none."""
    if boundary := parse_options_header(request.headers.get("content-type"))[1].get(b"boundary"):
        return boundary
    raise unreadable("it names no boundary")


def delimiter_of(boundary: bytes) -> bytes:
    """What stands before each part of a form but the first (RFC 2046, section 5.1.1)."""
    return b"\r\n--" + boundary


def part_options(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The value of a part's header, and its options. Raises `BadRequest` for more of them than a part has.

    Reading them takes the square of their number.
    """
    if header.count(b";") > MOST_OPTIONS:
        raise unreadable(f"a header of a part has more than {MOST_OPTIONS} semicolons")
    return parse_options_header(header)


async def from_first_boundary(
    chunks: AsyncGenerator[bytes, None], boundary: bytes, most_parts: int, error: Callable[[], Problem]
) -> AsyncGenerator[bytes, None]:
    """The chunks of a form without the preamble before its first boundary (RFC 2046, section 5.1.1).

    Raises `error` for more parts, and `BadRequest` for blanks after a boundary, before a parser sees them: it takes its time
    for what begins as a part, and for each blank.
    """
    first, delimiter = re.compile(rb"\n(--%b(?:\r\n|--))" % re.escape(boundary)), delimiter_of(boundary)
    tail, count, has_begun = b"\n", -1, False  # the body's start is the start of a line; the form's end is a delimiter, too
    async for chunk in chunks:
        data = tail + chunk
        if not has_begun and (match := first.search(data)):
            has_begun, chunk, data = True, data[match.start(1) :], data[match.start(1) :]
        tail = data[-len(delimiter) :]  # these bytes may begin a delimiter, or be one that blanks follow
        if has_begun:
            if delimiter in data:
                count += data.count(delimiter, 1)  # one at its start was in the tail
                if delimiter + b" " in data or delimiter + b"\t" in data:
                    raise unreadable("it has blanks after a boundary")
            if count > most_parts:
                raise error()
            yield chunk


def unreadable(reason: str) -> BadRequest:
    return BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`")


class _MemoryFile(UploadFile):
    """A form's file in memory, in pieces: a single buffer would be copied when it grows. A piece is read once."""

    def __init__(self, upload: UploadFile) -> None:
        super().__init__(upload.file, size=0, filename=upload.filename, headers=upload.headers)
        self.pieces = deque([bytearray()])

    async def write(self, data: bytes) -> None:
        self.size = (self.size or 0) + len(data)
        self.pieces[-1] += data
        if len(self.pieces[-1]) >= PIECE:
            self.pieces.append(bytearray())

    async def read(self, size: int = -1) -> bytes:
        return bytes(self.pieces.popleft()) if self.pieces else b""

    def __repr__(self) -> str:
        return f"the file {self.filename!r}"


class _Parser(MultiPartParser):
    """A parser that records in `has_ended` whether the form's closing boundary came; without it, the last part may be missing.

    It treats a field for images as a file even if it has no file name, so that it is counted and spooled as a file.
    It calls `on_file` before a part becomes larger than `spool_max_size`. Raises `TooLarge` for more than `MAX_FILES` files.
    """

    on_file: Callable[[], None]
    fields: Sequence[str]
    is_in_memory = has_ended = False
    _files = _part_bytes = 0
    _value = b""  # of a part's header

    def on_part_begin(self) -> None:
        self._part_bytes = 0
        super().on_part_begin()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        before, self._part_bytes = self._part_bytes, self._part_bytes + end - start
        if before <= self.spool_max_size < self._part_bytes:
            self.on_file()
        super().on_part_data(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        super().on_header_value(data, start, end)

    def on_header_end(self) -> None:
        disposition, options = part_options(self._value)
        is_image = options.get(b"name", b"").decode("latin-1") in self.fields
        self._files += disposition == b"form-data" and (is_image or b"filename" in options)
        check_number(self._files)
        if is_image and b"filename" not in options:
            ending = b'; filename=""'
            super().on_header_value(ending, 0, len(ending))
        self._value = b""
        super().on_header_end()

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self.is_in_memory and self._current_part.file:
            self._current_part.file = _MemoryFile(self._current_part.file)

    def on_end(self) -> None:
        self.has_ended = True
