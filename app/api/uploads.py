"""Reads a request's body within its limits, and finds the image in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
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

FIELDS = ("file", "image")
UNNAMED = "image"
LONGEST_NAME = 200  # of a file, in characters: the end of a longer one counts
MAX_FILES = 100
MAX_FIELDS, FIELD_BYTES = 20, 4096  # that are no files: nobody reads them, and they lie in memory
SPOOLED = 1 << 16
LEAST_RATE = 10_000  # bytes a second that a body must come with, on average,
SLOW_S = 10.0  # after so many seconds
NO_ROOM = {"Retry-After": "10", "Connection": "close"}
log = logging.getLogger("segment")


class Upload(NamedTuple):
    """An image file: its bytes, and its name without folders (`image` where none came)."""

    data: bytes
    name: str


@dataclass(frozen=True)
class Limits:
    """Of a body: the most bytes, the most seconds that it may take to arrive, and `hold`, which is told how many bytes of
    memory it takes and raises where those are not to be had."""

    bytes: int
    seconds: float
    hold: Callable[[int], None]


async def read_image(request: Request, limits: Limits) -> Upload:
    """The image: the multipart field `file` or `image`, or the raw body.

    Raises `TooLarge` (before reading where Content-Length tells), `UploadTooSlow`, `BadRequest`, `EmptyBody` or what `hold`
    raises.
    """
    _check_announced(request, limits.bytes)
    async with _in_time(limits.seconds) as deadline:
        # what arrives is put together at the end: for a moment it is there twice
        body = _arriving(request, limits, deadline, lambda received: 2 * received)
        if _media_type(request) != "multipart/form-data":
            upload = Upload(_not_empty(b"".join([chunk async for chunk in body]), "the body"), UNNAMED)
        else:
            form = await _parse(request, body, limits.bytes)
            try:
                upload = await read_part(images(form)[0])
            finally:
                await form.close()
    limits.hold(len(upload.data))
    return upload


async def read_form(request: Request, limits: Limits) -> FormData:
    """A form, for the caller to close; its large files lie on disk until then. Raises as `read_image`."""
    if _media_type(request) != "multipart/form-data":
        raise BadRequest("several images come as multipart/form-data, each as a field `file`")
    _check_announced(request, limits.bytes)
    async with _in_time(limits.seconds) as deadline:
        body = _arriving(request, limits, deadline, lambda received: min(received, MAX_FILES * SPOOLED))
        return await _parse(request, body, SPOOLED)


def images(form: FormData) -> list[UploadFile]:
    """The files in the fields for images, in the form's order; raises `BadRequest` where there is none."""
    found = [part for name, part in form.multi_items() if name in FIELDS and isinstance(part, UploadFile)]
    if not found:
        names = ", ".join(sorted(form)) or "none"
        raise BadRequest(f"no file in a field `file` (or `image`) of the form; fields that came: {names}")
    return found


async def read_part(part: UploadFile) -> Upload:
    """The image of a form's field; raises `EmptyBody`."""
    name = base_name(part)
    return Upload(_not_empty(await part.read(), f"the file {name}"), name)


def base_name(part: UploadFile) -> str:
    """The file's name without folders, of whichever system, cut to 200 characters; `image` where none came."""
    return (part.filename or "").replace("\\", "/").rsplit("/", 1)[-1][-LONGEST_NAME:] or UNNAMED


def _media_type(request: Request) -> str:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return message.get_content_type()


async def _arriving(
    request: Request, limits: Limits, deadline: asyncio.Timeout, taken: Callable[[int], int]
) -> AsyncGenerator[bytes, None]:
    """The body's chunks, within their limits; each moves the deadline on, by the time that it may have taken."""
    loop, received = asyncio.get_running_loop(), 0
    latest, started = deadline.when() or inf, loop.time()
    deadline.reschedule(min(latest, started + SLOW_S))
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.bytes:
            raise _too_large(limits.bytes)
        limits.hold(taken(received))
        deadline.reschedule(min(latest, started + SLOW_S + received / LEAST_RATE))
        yield chunk


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
        async for chunk in body:
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
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM) from error


class _WholeForm(MultiPartParser):
    """Knows whether the form's closing boundary came: a part that it does not end is left out."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


def _not_empty(data: bytes, what: str) -> bytes:
    if not data:
        raise EmptyBody(f"{what} is empty (0 bytes); send an image as the field `file` of a form, or as the body")
    return data


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; send a smaller file", {"Connection": "close"})
