"""Reads a request's body within its limits, and finds the image in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from email.message import Message

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import BadRequest, EmptyBody, TooLarge, UploadTooSlow

FIELDS = ("file", "image")


async def read_image(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """The image's bytes: the multipart field `file` or `image`, or the raw body.

    Raises `TooLarge` (before reading where Content-Length tells), `UploadTooSlow`, `BadRequest` or `EmptyBody`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            if _media_type(request) == "multipart/form-data":
                return await _form_image(request, max_bytes)
            data = b"".join([chunk async for chunk in _limited(request, max_bytes)])
    except TimeoutError:
        raise UploadTooSlow(f"the body did not arrive within {timeout_s:g} s", {"Connection": "close"}) from None
    if not data:
        raise EmptyBody("the body is empty (0 bytes); send an image as the field `file` of a form, or as the body")
    return data


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


async def _form_image(request: Request, max_bytes: int) -> bytes:
    parser = MultiPartParser(request.headers, _limited(request, max_bytes), max_files=100, max_fields=100)
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = getattr(error, "message", "") or "it names no boundary"
        raise BadRequest(f"the form cannot be read: {reason}; send multipart/form-data with an image as `file`") from error
    try:
        for name in FIELDS:
            if isinstance(part := form.get(name), UploadFile):
                return await _part(part, name)
        names = ", ".join(sorted(form)) or "none"
        raise BadRequest(f"no file in a field `file` (or `image`) of the form; fields that came: {names}")
    finally:
        await form.close()


async def _part(part: UploadFile, name: str) -> bytes:
    data = await part.read()
    if not data:
        raise EmptyBody(f"the file in the field `{name}` is empty (0 bytes)")
    return data


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; send a smaller file", {"Connection": "close"})
