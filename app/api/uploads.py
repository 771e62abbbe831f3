"""Reads a request's body within limits of size, time and memory, and finds the image in it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from math import inf

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.errors import BadRequest, EmptyBody, TooLarge, Unavailable, UploadTooSlow
from app.api.json_images import COPIES, image_in_json, looks_like_json
from app.api.parameters import form_values
from app.connections import request_bytes
from app.telemetry import excerpt
from model.inference.processes.messages import Body

FIELDS = ("file", "image")
UNNAMED = "image"
LONGEST_NAME = 255  # characters of a file's name, as on file systems; only the end of a longer name is used
MAX_FILES = 100
MAX_FIELDS, FIELD_BYTES = 40, 4096  # limits on form fields that are not files: parameters, and what is not read
TEXT_BYTES = 1024  # bytes of an image field that are checked for being text
SPOOLED = 1 << 16  # a batch's files of up to this many bytes are kept in memory, larger ones on disk
LEAST_RATE = 10_000  # bytes per second that a body must arrive with on average
SLOW_S = 10.0  # seconds before this average is required
# a chunked body is refused if `CHUNKS` chunks in a row average less than `CHUNK_BYTES`: reading them costs more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last: bytes that frame a chunk of 16 to 255 bytes
IMAGE_COPIES = 2  # joining the chunks makes a second copy for a moment, and later the worker has a copy
NO_ROOM = {"Retry-After": "10", "Connection": "close"}
log = logging.getLogger("segment")


@dataclass(frozen=True)
class Upload:
    """An image file: its bytes, which the caller closes, and its name without folders (`image` if it has none).

    values: parameters that came with it. source: where they stood, for errors.
    """

    body: Body
    name: str = UNNAMED
    values: Mapping[str, object] = field(default_factory=dict)
    source: str = "form field"


@dataclass(frozen=True)
class UploadLimits:
    """Limits on a body: the most bytes, and the most seconds that it may take to arrive.

    hold: called with the number of bytes of memory that the body uses so far; raises if they are not available.
    """

    bytes: int
    seconds: float
    hold: Callable[[int], None]


async def read_image(request: Request, limits: UploadLimits) -> Upload:
    """Reads the image: the multipart field `file` or `image`, `inputs` of JSON, or the raw body.

    Raises `TooLarge` (before reading, if Content-Length is too large), `UploadTooSlow`, `BadRequest`, `EmptyBody`,
    `Unavailable` if there is no room for the image, `BadParameter`, `UnsupportedType` for a URL, or what `hold` raises.
    """
    kind = media_type(request)
    if kind == "application/json":
        return await _read_json(request, limits)
    if kind != "multipart/form-data":
        return Upload(_body(await read_body(request, limits, IMAGE_COPIES), "the body"))
    _check_content_length(request, limits.bytes)
    async with _upload_timeout(limits.seconds) as deadline:
        body = _receive(request, limits, deadline, lambda received: IMAGE_COPIES * received)
        form = await _parse(request, body, limits.bytes)
        try:
            values, parts = form_values(form), images(form)
            if len(parts) > 1 and any(part.size for part in parts):
                raise BadRequest(f"the form has {len(parts)} images, and /segment takes one; send several to /segment/batch")
            return Upload(_body(await _read(parts[0]), f"the file {base_name(parts[0])}"), base_name(parts[0]), values)
        finally:
            await form.close()


async def _read_json(request: Request, limits: UploadLimits) -> Upload:
    """Reads an image from JSON; a body that is no JSON is the image itself. Raises as `read_image`."""
    body = await read_body(request, limits, COPIES)
    data, values = await image_in_json(body) if looks_like_json(body) else (body, {})
    del body
    limits.hold(IMAGE_COPIES * len(data))
    return Upload(_body(data, "the image in `inputs`"), values=values, source="parameters")


async def read_body(request: Request, limits: UploadLimits, copies: int) -> bytes:
    """Reads the whole body, which counts `copies` times for the memory. Raises `TooLarge`, `UploadTooSlow` or `BadRequest`."""
    _check_content_length(request, limits.bytes)
    async with _upload_timeout(limits.seconds) as deadline:
        return b"".join([chunk async for chunk in _receive(request, limits, deadline, lambda received: copies * received)])


async def read_form(request: Request, limits: UploadLimits) -> FormData:
    """Reads a form, which the caller closes; its files of more than `SPOOLED` bytes are on disk until then.

    Raises the errors of `read_image`, and `Unavailable` if there is no room on disk.
    """
    if media_type(request) != "multipart/form-data":
        raise BadRequest("several images must come as multipart/form-data, each as a field `file`")
    _check_content_length(request, limits.bytes)
    async with _upload_timeout(limits.seconds) as deadline:
        body = _receive(request, limits, deadline, lambda received: min(received, MAX_FILES * SPOOLED))
        return await _parse(request, body, SPOOLED)


def images(form: FormData) -> list[UploadFile]:
    """The files in the fields for images, in the form's order. Raises `BadRequest` if there is none.

    Browsers send a file without a name and without bytes for a field in which no file was chosen. Such files are left out. If
    all files are empty, they are all returned.
    """
    parts = [part for name, part in form.multi_items() if name in FIELDS and isinstance(part, UploadFile)]
    if not parts:
        names = ", ".join(sorted(form)) or "none"
        raise BadRequest(f"no file in a field `file` (or `image`) of the form; fields that came: {names}")
    return [part for part in parts if part.filename or part.size] or parts


async def check_files(parts: Sequence[UploadFile]) -> None:
    """Raises `BadRequest` if all of a form's fields for images are text."""
    for part in parts:
        text = "" if part.filename else _as_text(await part.read(TEXT_BYTES))
        await part.seek(0)
        if not text:
            return
    raise _not_a_file(text)


async def spooled_body(part: UploadFile) -> Body:
    """The body of a batch's file. If the file is on disk, the worker reads it from there. Raises as `read_image`."""
    length = part.size or 0
    if length <= SPOOLED:
        return _body(await _read(part), f"the file {base_name(part)}")
    if not part.filename and (text := _as_text(await part.read(TEXT_BYTES))):
        raise _not_a_file(text)
    return Body(b"", os.dup(part.file.fileno()), length)


async def _read(part: UploadFile) -> bytes:
    """The bytes of a form's field. Raises `BadRequest` if they are text."""
    data = await part.read()
    if not part.filename and (text := _as_text(data)):
        raise _not_a_file(text)
    return data


def _body(data: bytes, source: str) -> Body:
    """The data as a `Body`. `source` names its origin in the error. Raises `EmptyBody` or `Unavailable`."""
    if not data:
        raise EmptyBody(f"{source} is empty (0 bytes); send an image as the field `file` of a form, or as the body")
    try:
        return Body.of(data)
    except OSError as error:
        log.error("an image could not be kept: %s", error)
        raise Unavailable("there is no room for the image; try again later", NO_ROOM, "disk") from error


def _not_a_file(text: str) -> BadRequest:
    advice = "send the file itself, with curl: -F file=@photo.jpg"
    return BadRequest(f"the form's field for the image came as the text {excerpt(text)}, and not as a file; {advice}")


def _as_text(data: bytes) -> str:
    """The first `TEXT_BYTES` bytes as text, or empty if they are not text.

    An image field is text if, for example, the `@` before the file's name is missing in a curl command.
    """
    start = data[:TEXT_BYTES]
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < TEXT_BYTES - 3:  # else it may be a character that is cut off at the end
            return ""
        text = start[: error.start].decode()
    return "" if "\0" in text else text


def base_name(part: UploadFile) -> str:
    """The file's name without folders (with `/` or `\\`), cut to its last 255 characters; `image` if it has none."""
    return (part.filename or "").replace("\\", "/").rsplit("/", 1)[-1][-LONGEST_NAME:] or UNNAMED


def media_type(request: Request) -> str:
    """The media type of the request's body, in lower case and without parameters."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return message.get_content_type()


async def _receive(
    request: Request, limits: UploadLimits, deadline: asyncio.Timeout, memory_bytes: Callable[[int], int]
) -> AsyncGenerator[bytes, None]:
    """Yields the body's chunks as they arrive, and checks the limits.

    After each chunk, the deadline is when the average rate would fall below `LEAST_RATE`, and never later than the first one.
    memory_bytes: returns the memory that is used once this many bytes have arrived.
    """
    loop, received = asyncio.get_running_loop(), 0
    latest, started = deadline.when() or inf, loop.time()
    deadline.reschedule(min(latest, started + SLOW_S))
    check_chunks = _chunk_check() if "transfer-encoding" in request.headers else lambda received: None
    async for chunk in request.stream():
        received += len(chunk)
        check_chunks(received)
        if received > limits.bytes:
            raise _too_large(limits.bytes)
        limits.hold(memory_bytes(received))
        deadline.reschedule(min(latest, started + SLOW_S + received / LEAST_RATE))
        yield chunk


def _chunk_check() -> Callable[[int], None]:
    """Returns a function to call with the number of body bytes received so far; it raises `BadRequest` if chunks are too small.

    All other bytes that arrived on the connection count as framing of the chunks.
    """
    latest_body = latest_frames = 0

    def check(received: int) -> None:
        nonlocal latest_body, latest_frames
        frames = (request_bytes() or 0) - received
        if frames - latest_frames < CHUNKS * FRAME_BYTES:
            return
        if (received - latest_body) * FRAME_BYTES < (frames - latest_frames) * CHUNK_BYTES:
            message = f"{CHUNKS} chunks of the body average less than {CHUNK_BYTES} bytes; send larger ones, or Content-Length"
            raise BadRequest(message, {"Connection": "close"})
        latest_body, latest_frames = received, frames

    return check


def _check_content_length(request: Request, max_bytes: int) -> None:
    content_length = request.headers.get("content-length", "")
    if content_length.isdigit() and int(content_length) > max_bytes:
        raise _too_large(max_bytes)


@asynccontextmanager
async def _upload_timeout(timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            yield deadline
    except TimeoutError:
        message = f"the body did not arrive within {timeout_s:g} s, or came slower than {LEAST_RATE / 1000:g} kB a second"
        raise UploadTooSlow(message, {"Connection": "close"}) from None


async def _parse(request: Request, body: AsyncGenerator[bytes, None], spool_bytes: int) -> FormData:
    """The request's form. Parts of more than `spool_bytes` bytes are on disk."""
    # only the boundary is passed on: names are UTF-8 (RFC 7578, section 5.1.2), and a client's charset could select any codec
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    headers = Headers({"content-type": f'{kind.decode("latin-1")}; boundary="{boundary}"'} if boundary else {})

    async def checked_body() -> AsyncGenerator[bytes, None]:
        async for chunk in _from_first_boundary(body, parameters.get(b"boundary", b"")):
            yield chunk
        if not parser.ended:
            raise MultiPartException("it is cut off: its closing boundary is missing")

    parser = _WholeForm(headers, checked_body(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    parser.spool_max_size = spool_bytes
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", "") or "it names no boundary"
        raise BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`") from error
    except OSError as error:
        log.error("a form's files could not be kept on disk: %s", error)
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM, "disk") from error


class _WholeForm(MultiPartParser):
    """A parser that records in `ended` whether the form's closing boundary arrived; without it, the last part may be missing.

    It treats a field for images as a file even if it has no file name, so that it is counted and spooled as a file.
    """

    ended = False
    _header: tuple[bytes, bytes] = b"", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0] + data[start:end], b""

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = self._header[0], self._header[1] + data[start:end]

    def on_header_end(self) -> None:
        (name, value), self._header = self._header, (b"", b"")
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            field = options.get(b"name", b"").decode("latin-1")
            if field in FIELDS and b"filename" not in options:
                value = f'form-data; name="{field}"; filename=""'.encode()
        super().on_header_field(name, 0, len(name))
        super().on_header_value(value, 0, len(value))
        super().on_header_end()

    def on_end(self) -> None:
        self.ended = True


async def _from_first_boundary(body: AsyncGenerator[bytes, None], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """Yields the body without the preamble before its first boundary (RFC 2046, section 5.1.1).

    Keeps only the last bytes of the preamble in memory.
    """
    delimiter = re.compile(rb"\n(--%b(?:\r\n|--))" % re.escape(boundary))
    tail, begun = b"\n", not boundary  # a line feed, because the body's start is the start of a line
    async for chunk in body:
        if begun:
            yield chunk
            continue
        tail += chunk
        if match := delimiter.search(tail):
            begun = True
            yield tail[match.start(1) :]
        else:
            tail = tail[-len(boundary) - 4 :]  # these bytes may begin a delimiter


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; send a smaller file", {"Connection": "close"})
