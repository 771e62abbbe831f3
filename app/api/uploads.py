"""Reads a request's body within its limits, and finds the image in it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from math import inf
from typing import NamedTuple

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.errors import BadRequest, EmptyBody, TooLarge, Unavailable, UploadTooSlow
from app.connections import request_bytes
from app.telemetry import shown
from model.inference.worker import Body

FIELDS = ("file", "image")
UNNAMED = "image"
LONGEST_NAME = 255  # of a file, in characters, as on file systems: the end of a longer one counts
MAX_FILES = 100
MAX_FIELDS, FIELD_BYTES = 20, 4096  # that are no files: nobody reads them, and they lie in memory
TEXT_BYTES = 1024  # of a field for images, by which is told whether it is text
SPOOLED = 1 << 16  # bytes of a batch's file that lie in memory; larger ones lie on disk
LEAST_RATE = 10_000  # bytes a second that a body must come with, on average,
SLOW_S = 10.0  # after so many seconds
# of a body in chunks: `CHUNKS` in a row that average less than `CHUNK_BYTES` cost much more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last is what frames a chunk of 16 to 255 bytes
NO_ROOM = {"Retry-After": "10", "Connection": "close"}
log = logging.getLogger("segment")


class Upload(NamedTuple):
    """An image file: its bytes, for the caller to close, and its name without folders (`image` where none came)."""

    body: Body
    name: str


@dataclass(frozen=True)
class UploadLimits:
    """Of a body: the most bytes, the most seconds that it may take to arrive, and `hold`, which is told how many bytes of
    memory it takes and raises where those are not to be had."""

    bytes: int
    seconds: float
    hold: Callable[[int], None]


async def read_image(request: Request, limits: UploadLimits) -> Upload:
    """The image: the multipart field `file` or `image`, or the raw body.

    Raises `TooLarge` (before reading where Content-Length tells), `UploadTooSlow`, `BadRequest`, `EmptyBody` or what `hold`
    raises.
    """
    _check_announced(request, limits.bytes)
    async with _in_time(limits.seconds) as deadline:
        # put together at the end, it is there twice for a moment; later the worker that has it has a copy
        body = _arriving(request, limits, deadline, lambda received: 2 * received)
        if _media_type(request) != "multipart/form-data":
            return Upload(_body(b"".join([chunk async for chunk in body]), "the body"), UNNAMED)
        form = await _parse(request, body, limits.bytes)
        try:
            part = images(form)[0]
            return Upload(_body(await _read(part), f"the file {base_name(part)}"), base_name(part))
        finally:
            await form.close()


async def read_form(request: Request, limits: UploadLimits) -> FormData:
    """A form, for the caller to close; its files of more than `SPOOLED` bytes lie on disk until then.

    Raises as `read_image`, and `Unavailable` where they find no room on disk.
    """
    if _media_type(request) != "multipart/form-data":
        raise BadRequest("several images come as multipart/form-data, each as a field `file`")
    _check_announced(request, limits.bytes)
    async with _in_time(limits.seconds) as deadline:
        body = _arriving(request, limits, deadline, lambda received: min(received, MAX_FILES * SPOOLED))
        return await _parse(request, body, SPOOLED)


def images(form: FormData) -> list[UploadFile]:
    """The files in the fields for images, in the form's order; raises `BadRequest` where there is none.

    A field without a name and without bytes, as browsers send for one in which nothing was chosen, counts where no other came.
    """
    parts = [part for name, part in form.multi_items() if name in FIELDS and isinstance(part, UploadFile)]
    if not parts:
        names = ", ".join(sorted(form)) or "none"
        raise BadRequest(f"no file in a field `file` (or `image`) of the form; fields that came: {names}")
    return [part for part in parts if part.filename or part.size] or parts


async def check_files(parts: Sequence[UploadFile]) -> None:
    """Raises `BadRequest` where all of a form's fields for images came as text."""
    for part in parts:
        text = "" if part.filename else _as_text(await part.read(TEXT_BYTES))
        await part.seek(0)
        if not text:
            return
    raise _not_a_file(text)


async def spooled_body(part: UploadFile) -> Body:
    """A batch's file for a worker, which reads it from disk itself where it lies there; raises as `read_image`."""
    length = part.size or 0
    if length <= SPOOLED:
        return _body(await _read(part), f"the file {base_name(part)}")
    if not part.filename and (text := _as_text(await part.read(TEXT_BYTES))):
        raise _not_a_file(text)
    return Body(b"", os.dup(part.file.fileno()), length)


async def _read(part: UploadFile) -> bytes:
    """A form field's bytes; raises `BadRequest` where they came as text."""
    data = await part.read()
    if not part.filename and (text := _as_text(data)):
        raise _not_a_file(text)
    return data


def _body(data: bytes, what: str) -> Body:
    if not data:
        raise EmptyBody(f"{what} is empty (0 bytes); send an image as the field `file` of a form, or as the body")
    try:
        return Body.of(data)
    except OSError as error:
        log.error("an image could not be kept: %s", error)
        raise Unavailable("there is no room for the image; try again later", NO_ROOM, "disk") from error


def _not_a_file(text: str) -> BadRequest:
    advice = "send the file itself, with curl: -F file=@photo.jpg"
    return BadRequest(f"the form's field for the image came as the text {shown(text)}, and not as a file; {advice}")


def _as_text(data: bytes) -> str:
    """The start of a field without a file's name, where that is text, as the name of a file is when `@` is forgotten."""
    start = data[:TEXT_BYTES]
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < TEXT_BYTES - 3:  # no letter that is cut off at the end
            return ""
        text = start[: error.start].decode()
    return "" if "\0" in text else text


def base_name(part: UploadFile) -> str:
    """The file's name without folders, of whichever system, cut to 255 characters; `image` where none came."""
    return (part.filename or "").replace("\\", "/").rsplit("/", 1)[-1][-LONGEST_NAME:] or UNNAMED


def _media_type(request: Request) -> str:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return message.get_content_type()


async def _arriving(
    request: Request, limits: UploadLimits, deadline: asyncio.Timeout, taken: Callable[[int], int]
) -> AsyncGenerator[bytes, None]:
    """The body's chunks, within their limits; each moves the deadline on, by the time that it may have taken."""
    loop, received = asyncio.get_running_loop(), 0
    latest, started = deadline.when() or inf, loop.time()
    deadline.reschedule(min(latest, started + SLOW_S))
    check_chunks = _chunk_check() if "transfer-encoding" in request.headers else lambda received: None
    async for chunk in request.stream():
        received += len(chunk)
        check_chunks(received)
        if received > limits.bytes:
            raise _too_large(limits.bytes)
        limits.hold(taken(received))
        deadline.reschedule(min(latest, started + SLOW_S + received / LEAST_RATE))
        yield chunk


def _chunk_check() -> Callable[[int], None]:
    """What raises `BadRequest` where chunks are too small; it is told how many bytes of the body have come.

    What came on the connection and is not of the body frames its chunks.
    """
    latest_body = latest_frames = 0

    def check(received: int) -> None:
        nonlocal latest_body, latest_frames
        frames = (request_bytes() or 0) - received
        if frames - latest_frames < CHUNKS * FRAME_BYTES:
            return
        if (received - latest_body) * FRAME_BYTES < (frames - latest_frames) * CHUNK_BYTES:
            stated = f"{CHUNKS} chunks of the body average less than {CHUNK_BYTES} bytes; send larger ones, or Content-Length"
            raise BadRequest(stated, {"Connection": "close"})
        latest_body, latest_frames = received, frames

    return check


def _check_announced(request: Request, max_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            yield deadline
    except TimeoutError:
        stated = f"the body did not arrive within {timeout_s:g} s, or came slower than {LEAST_RATE / 1000:g} kB a second"
        raise UploadTooSlow(stated, {"Connection": "close"}) from None


async def _parse(request: Request, body: AsyncGenerator[bytes, None], spooled: int) -> FormData:
    """The request's form; parts of more than `spooled` bytes lie on disk."""
    # names are UTF-8 (RFC 7578, section 5.1.2): a charset of the client's choice could be any of Python's codecs
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    headers = Headers({"content-type": f'{kind.decode("latin-1")}; boundary="{boundary}"'} if boundary else {})

    async def whole() -> AsyncGenerator[bytes, None]:
        async for chunk in _from_first_boundary(body, parameters.get(b"boundary", b"")):
            yield chunk
        if not parser.ended:
            raise MultiPartException("it is cut off: its closing boundary is missing")

    parser = _WholeForm(headers, whole(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    parser.spool_max_size = spooled
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", "") or "it names no boundary"
        raise BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`") from error
    except OSError as error:
        log.error("a form's files could not be kept on disk: %s", error)
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM, "disk") from error


class _WholeForm(MultiPartParser):
    """Knows whether the form's closing boundary came: a part that it does not end is left out.

    A field for images is a file even where it has no file's name, so that it is counted and spooled as one.
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
    """The body without what stands before its first boundary (RFC 2046, section 5.1.1); of that, the last bytes are kept."""
    delimiter = re.compile(rb"\n(--%b(?:\r\n|--))" % re.escape(boundary))
    kept, begun = b"\n", not boundary  # the body's start is the start of a line
    async for chunk in body:
        if begun:
            yield chunk
            continue
        kept += chunk
        if first := delimiter.search(kept):
            begun = True
            yield kept[first.start(1) :]
        else:
            kept = kept[-len(boundary) - 4 :]  # what may be the beginning of a delimiter


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; send a smaller file", {"Connection": "close"})
