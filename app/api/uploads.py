"""Reads a request's body within limits of size, time and memory, and the image in it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from app.api.errors import (
    BadRequest,
    EmptyBody,
    Problem,
    TooLarge,
    Unavailable,
    UnsupportedType,
    UploadTooSlow,
    mapped_errors,
)
from app.api.forms import DEFAULT_NAME, MAX_FILES, NO_ROOM, SPOOL_BYTES, base_name, check_file, images, parse_form
from app.api.json_images import COPIES, copies, image_in_json, looks_like_json
from app.api.parameters import form_values
from app.connections import request_bytes
from app.serving.budget import Budget
from app.serving.reservation import Reservation
from app.telemetry import VALUE_LENGTH
from model.inference.processes.protocol import Body
from model.printable import printable

LEAST_RATE = 10_000  # bytes per second that a body must arrive with on average
SLOW_S = 10.0  # seconds before this average is required
# a chunked body is refused if `CHUNKS` chunks in a row average less than `CHUNK_BYTES`: reading them costs more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last: bytes that frame a chunk of 16 to 255 bytes
IMAGE_COPIES = 2  # joining the chunks makes a second copy for a moment, and later the worker has a copy
IDENTITY = "identity"  # the content coding that changes nothing (RFC 9110, section 8.4.1)
IMAGE_ADVICE = "send an image as the field `file` of a form, or as the body"
log = logging.getLogger("segment")


@dataclass(frozen=True)
class Upload:
    """An image file of a request.

    body: its bytes; the request's reservation owns it. name: the file's name without folders, or `image` if it has none.
    values: the parameters that came with it. source: where the parameters stood, for errors.
    """

    body: Body
    name: str = DEFAULT_NAME
    values: Mapping[str, object] = field(default_factory=dict)
    source: str = "form field"


@dataclass(frozen=True)
class UploadLimits:
    """Limits on a body: the most bytes, and the most seconds that it may take to arrive.

    budget: counts what the body uses, for `reservation`. setting: the one that limits the bytes, for the error.
    """

    bytes: int
    seconds: float
    budget: Budget
    reservation: Reservation
    setting: str = "SEGMENT_MAX_UPLOAD_MB"

    def hold(self, count: int) -> None:
        """Sets the bytes of memory that the body uses. Raises `Unavailable`."""
        with _closing():
            self.budget.hold_body(self.reservation, count)

    def hold_file(self) -> None:
        """Counts one more file of the body on disk. Raises `Unavailable` or `TooLarge`."""
        with _closing():
            self.budget.hold_files(self.reservation, self.reservation.files + 1)


@contextmanager
def _closing() -> Iterator[None]:
    """Maps errors of the budget to problems that close the connection, because the body is not read to its end."""
    try:
        with mapped_errors():
            yield
    except Problem as problem:
        problem.headers["Connection"] = "close"
        raise


async def read_image(request: Request, limits: UploadLimits) -> Upload:
    """Reads the image: the multipart field `file` or `image`, `inputs` of JSON, or the raw body.

    Raises `TooLarge` (before reading, if Content-Length is too large), `UploadTooSlow`, `BadRequest`, `EmptyBody`,
    `Unavailable` if there is no room for the image, `BadParameter`, `UnsupportedType` for a URL, or what `hold` raises.
    """
    kind = media_type(request)
    if kind == "application/json":
        return await _read_json(request, limits)
    if kind != "multipart/form-data":
        data = await read_body(request, limits, IMAGE_COPIES)
        return Upload(_body(data, limits.reservation, "the body", IMAGE_ADVICE))
    _check_header(request, limits)
    async with _arrival(limits) as deadline:
        body = _receive(request, limits, deadline, lambda count: IMAGE_COPIES * count)
        form = await parse_form(request, body, limits.bytes, limits.hold_file)
        try:
            values, parts = form_values(form), images(form)
            if len(parts) > 1 and any(part.size for part in parts):
                raise BadRequest(f"the form has {len(parts)} images, and /segment takes one; send several to /segment/batch")
            return Upload(await _file_body(parts[0], limits.reservation), base_name(parts[0]), values)
        finally:
            await form.close()


async def _read_json(request: Request, limits: UploadLimits) -> Upload:
    """Reads an image from JSON. A body that is not JSON is the image itself. Raises as `read_image`."""
    body = await read_body(request, limits, COPIES)
    values: Mapping[str, object] = {}
    if looks_like_json(body):
        limits.hold(copies(body) * len(body))
        data, values = await image_in_json(body)
    else:
        data = body
    del body
    limits.hold(IMAGE_COPIES * len(data))
    image_body = _body(data, limits.reservation, "the image in `inputs`", "write its bytes there as base64")
    return Upload(image_body, values=values, source="parameters")


async def read_json(request: Request, limits: UploadLimits) -> bytes:
    """Reads a body of JSON, which counts for the memory that parsing it takes. Raises as `read_body`."""
    body = await read_body(request, limits, COPIES)
    limits.hold(copies(body) * len(body))
    return body


async def read_body(request: Request, limits: UploadLimits, copies: int) -> bytes:
    """Reads the whole body, which counts `copies` times for the memory. Raises `TooLarge`, `UploadTooSlow` or `BadRequest`."""
    _check_header(request, limits)
    async with _arrival(limits) as deadline:
        return b"".join([chunk async for chunk in _receive(request, limits, deadline, lambda count: copies * count)])


async def read_form(request: Request, limits: UploadLimits) -> FormData:
    """Reads a form, which the caller closes; its files of more than `SPOOL_BYTES` bytes are on disk until then.

    Raises the errors of `read_image`, and `Unavailable` if there is no room on disk.
    """
    if media_type(request) != "multipart/form-data":
        raise BadRequest("several images must come as multipart/form-data, each as a field `file`")
    _check_header(request, limits)
    async with _arrival(limits) as deadline:
        body = _receive(request, limits, deadline, lambda count: min(count, MAX_FILES * SPOOL_BYTES))
        try:
            return await parse_form(request, body, SPOOL_BYTES, limits.hold_file)
        except Unavailable as error:
            if error.reason == "disk":
                limits.budget.on_full_disk()
            raise


async def spooled_body(part: UploadFile, reservation: Reservation) -> Body:
    """The body of a batch's file, which the reservation owns. If it is on disk, the worker reads it from there.

    Raises as `read_image`.
    """
    length = part.size or 0
    if length <= SPOOL_BYTES:
        return await _file_body(part, reservation)
    await check_file(part)
    return reservation.own(Body(b"", os.dup(part.file.fileno()), length))


async def _file_body(part: UploadFile, reservation: Reservation) -> Body:
    """A form's file in memory. Raises as `read_image`."""
    await check_file(part)
    return _body(await part.read(), reservation, f"the file {base_name(part)}", "send a file that holds an image")


def _body(data: bytes, reservation: Reservation, source: str, advice: str) -> Body:
    """The data as a `Body`, which the reservation owns. Raises `EmptyBody` or `Unavailable`.

    source: its origin, for the error. advice: what to send.
    """
    if not data:
        raise EmptyBody(f"{source} is empty (0 bytes); {advice}")
    try:
        return reservation.own(Body.of(data))
    except OSError as error:
        log.error("an image could not be kept: %s", error)
        raise Unavailable("there is no room for the image; try again later", NO_ROOM, "disk") from error


def media_type(request: Request) -> str:
    """The media type of the request's body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _receive(
    request: Request, limits: UploadLimits, deadline: asyncio.Timeout, memory_bytes: Callable[[int], int]
) -> AsyncGenerator[bytes, None]:
    """Yields the body's chunks as they arrive, and checks the limits.

    After each chunk, the deadline is when the average rate would fall below `LEAST_RATE`, and never later than the first one.
    memory_bytes: returns the memory that is used once this many bytes have arrived.
    """
    loop, count = asyncio.get_running_loop(), 0
    latest, start = deadline.when() or inf, loop.time()
    deadline.reschedule(min(latest, start + SLOW_S))
    check_chunks = _chunk_check() if "transfer-encoding" in request.headers else lambda count: None
    async for chunk in request.stream():
        count += len(chunk)
        check_chunks(count)
        if count > limits.bytes:
            raise _too_large(limits)
        limits.hold(memory_bytes(count))
        deadline.reschedule(min(latest, start + SLOW_S + count / LEAST_RATE))
        yield chunk


def _chunk_check() -> Callable[[int], None]:
    """Returns a function to call with the number of body bytes received so far; it raises `BadRequest` if chunks are too small.

    All other bytes that arrived on the connection count as framing of the chunks.
    """
    latest_body = latest_frames = 0

    def check(count: int) -> None:
        nonlocal latest_body, latest_frames
        frames = (request_bytes() or 0) - count
        if frames - latest_frames < CHUNKS * FRAME_BYTES:
            return
        if (count - latest_body) * FRAME_BYTES < (frames - latest_frames) * CHUNK_BYTES:
            message = f"{CHUNKS} chunks of the body average less than {CHUNK_BYTES} bytes; send larger ones, or Content-Length"
            raise BadRequest(message, {"Connection": "close"})
        latest_body, latest_frames = count, frames

    return check


def _check_header(request: Request, limits: UploadLimits) -> None:
    """Raises `UnsupportedType` for a compressed body, and `TooLarge` for a length above the limit."""
    coding = request.headers.get("content-encoding", IDENTITY)
    if coding.strip().lower() not in ("", IDENTITY):
        message = f"the body is in the content encoding {printable(coding, VALUE_LENGTH)}, and is not decoded"
        raise UnsupportedType(
            f"{message}; send it as it is, without Content-Encoding", {"Accept-Encoding": IDENTITY, "Connection": "close"}
        )
    content_length = request.headers.get("content-length", "")
    if content_length.isdigit() and int(content_length) > limits.bytes:
        raise _too_large(limits)


@asynccontextmanager
async def _arrival(limits: UploadLimits) -> AsyncIterator[asyncio.Timeout]:
    """Gives the body its time. If it fails, its memory and files stop counting at once, while its rest may still come."""
    try:
        async with asyncio.timeout(limits.seconds) as deadline:
            yield deadline
    except BaseException as error:
        limits.budget.end(limits.reservation)
        if not isinstance(error, TimeoutError):
            raise
        message = f"the body did not arrive within {limits.seconds:g} s, or came slower than {LEAST_RATE / 1000:g} kB a second"
        raise UploadTooSlow(message, {"Connection": "close"}) from None


def _too_large(limits: UploadLimits) -> TooLarge:
    advice = f"send a smaller file; the operator can raise {limits.setting}"
    return TooLarge(f"the body is larger than {limits.bytes / 1e6:g} MB; {advice}", {"Connection": "close"})
