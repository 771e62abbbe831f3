"""Reads a request's body within its limits, and finds the image in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
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
SPOOLED = 1 << 20
NO_ROOM = {"Retry-After": "10", "Connection": "close"}
log = logging.getLogger("segment")


class Upload(NamedTuple):
    """An image file: its bytes, and its name without folders (`image` where none came)."""

    data: bytes
    name: str


async def read_image(request: Request, max_bytes: int, timeout_s: float) -> Upload:
    """The image: the multipart field `file` or `image`, or the raw body.

    Raises `TooLarge` (before reading where Content-Length tells), `UploadTooSlow`, `BadRequest` or `EmptyBody`.
    """
    _check_announced(request, max_bytes)
    async with _in_time(timeout_s):
        if _media_type(request) != "multipart/form-data":
            data = b"".join([chunk async for chunk in _limited(request, max_bytes)])
            return Upload(_not_empty(data, "the body"), UNNAMED)
        form = await _parse(request, max_bytes, max_bytes)
        try:
            return await read_part(images(form)[0])
        finally:
            await form.close()


async def read_form(request: Request, max_bytes: int, timeout_s: float) -> FormData:
    """A form, for the caller to close; its large files lie on disk until then. Raises as `read_image`."""
    if _media_type(request) != "multipart/form-data":
        raise BadRequest("several images come as multipart/form-data, each as a field `file`")
    _check_announced(request, max_bytes)
    async with _in_time(timeout_s):
        return await _parse(request, max_bytes, SPOOLED)


def images(form: FormData) -> list[UploadFile]:
    """The files in the fields for images; raises `BadRequest` where there is none."""
    found = [part for name in FIELDS for part in form.getlist(name) if isinstance(part, UploadFile)]
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


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _check_announced(request: Request, max_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise UploadTooSlow(f"the body did not arrive within {timeout_s:g} s", {"Connection": "close"}) from None


async def _parse(request: Request, max_bytes: int, spooled: int) -> FormData:
    """The request's form; parts of more than `spooled` bytes lie on disk."""
    # names are UTF-8 (RFC 7578, section 5.1.2): a charset of the client's choice could be any of Python's codecs
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    headers = Headers({"content-type": f'{kind.decode("latin-1")}; boundary="{boundary}"'} if boundary else {})
    parser = MultiPartParser(headers, _limited(request, max_bytes), max_files=MAX_FILES, max_fields=MAX_FILES)
    parser.spool_max_size = spooled
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", "") or "it names no boundary"
        raise BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`") from error
    except OSError as error:
        log.error("a form's files could not be kept on disk: %s", error)
        raise Unavailable("there is no room on disk for the form's files; try again later", NO_ROOM) from error


def _not_empty(data: bytes, what: str) -> bytes:
    if not data:
        raise EmptyBody(f"{what} is empty (0 bytes); send an image as the field `file` of a form, or as the body")
    return data


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; send a smaller file", {"Connection": "close"})
