"""The body of a request, read within limits of size, time and memory, and the image in it: the body itself, or base64 in JSON.

JSON is `{"inputs": BASE64, "parameters": {...}}`, as the clients of Hugging Face's inference API send it.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from app.api.errors import (
    BadParameter,
    BadRequest,
    TooLarge,
    Unavailable,
    UnsupportedType,
    UploadTooSlow,
)
from app.api.query import Query, json_values
from app.serving.admission import Reservation
from app.serving.photos import Upload
from app.serving.service import Service
from model.inference.processes.blob import Blob
from model.printable import VALUE_LENGTH, excerpt, printable

LEAST_UPLOAD_RATE = 10_000  # bytes per second that a body must arrive with on average
UPLOAD_GRACE_S = 10.0  # seconds before this average is required
# a chunked body is refused if `CHUNKS` chunks in a row average less than `CHUNK_BYTES`: reading them costs more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last: bytes that frame a chunk of 16 to 255 bytes
IMAGE_COPIES = 2  # joining the chunks makes a second copy for a moment, and later the worker has a copy
JSON_COPIES = 4  # of JSON in memory: the body, its text, the image, and a short-lived one
WIDE_COPIES = JSON_COPIES + 3  # Python's text takes four bytes a character as soon as one of them is wide
WIDE = re.compile(rb"\\u(?!00)")  # escapes of such characters; others may be part of base64, as .NET writes it
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BEFORE_JSON = b"\0\xff\xfe \t\r\n" + BYTE_ORDER_MARK  # bytes that may stand before its first sign, in any encoding
MOST_BEFORE_JSON = 1024
JSON = re.compile(rb'[{"]|\[(?!object )')  # `[object Blob]` is what JavaScript writes for one
MOST_VALUES = 10_000  # in the JSON; each may take hundreds of bytes of memory
PIECE = 1 << 20  # characters that are decoded at once; a multiple of 4
URL = re.compile(r"\s*(https?|ftp|file|s3|gs)://", re.IGNORECASE)
DATA_URL = re.compile(r"data:image/[\w.+-]{1,64}(;[\w.=+-]{1,64}){0,4};base64,", re.ASCII | re.IGNORECASE)
"""What data URLs (RFC 2397) of images have before their base64."""
EXAMPLE = {"inputs": "iVBORw0KGgo=", "parameters": {"format": "json"}}
URLS = "the service does not fetch URLs, got {}; send the image itself: curl URL | curl --data-binary @- THIS_ADDRESS"
IDENTITY = "identity"  # the content coding that changes nothing (RFC 9110, section 8.4.1)
NO_ROOM = {"Retry-After": "10"}
DEFAULT_NAME = Upload.name
log = logging.getLogger("segment")


@dataclass(frozen=True)
class RequestBody:
    """The body of a request, which may have `megabytes` 10^6 bytes. `setting` says so. Its bytes count for the reservation.

    seconds: that it may take to arrive; None for those of the settings.
    Raises `UnsupportedType` for a compressed body, and `TooLarge` for a length above the limit.
    """

    request: Request
    service: Service
    megabytes: float
    setting: str = "SEGMENT_MAX_UPLOAD_MB"
    seconds: float | None = None

    def __post_init__(self) -> None:
        coding, length = (self.request.headers.get(name, "").strip() for name in ("content-encoding", "content-length"))
        if coding.lower() not in ("", IDENTITY):
            message = f"the body is in the content encoding {printable(coding, VALUE_LENGTH)}, and is not decoded"
            raise UnsupportedType(f"{message}; send it as it is, without Content-Encoding", {"Accept-Encoding": IDENTITY})
        if length.isdecimal():
            self._check_size(int(length))

    @property
    def limit(self) -> int:
        """The most bytes that it may have."""
        return int(self.megabytes * 1e6)

    @property
    def reservation(self) -> Reservation:
        reservation: Reservation = self.request.state.reservation
        return reservation

    def set_memory(self, count: int) -> None:
        """Sets the bytes of memory that the body uses. Raises `QueueFull` or `NeverFits`."""
        self.reservation.set_body(count)

    def keep(self, data: bytes) -> Blob:
        """Bytes of an image, which the reservation closes. Raises `Unavailable`."""
        try:
            body = Blob.of(data)
        except OSError as error:
            log.error("an image could not be kept: %s", error)
            raise Unavailable("there is no room for the image; try again later", NO_ROOM, "disk") from error
        self.reservation.callback(body.close)
        return body

    async def chunks(self, memory_bytes: Callable[[int], int]) -> AsyncGenerator[bytes, None]:
        """Yields the body's chunks as they arrive, and checks the limits.

        A chunk must come before the average rate falls below `LEAST_UPLOAD_RATE`, and within the time for the whole body.
        memory_bytes: returns the memory that is used once this many bytes have arrived.
        Raises `UploadTooSlow`, `TooLarge`, `BadRequest`, what `set_memory` raises.
        """
        start, stream = asyncio.get_running_loop().time(), self.request.stream()
        is_chunked = "transfer-encoding" in self.request.headers
        seconds = self.seconds or self.service.settings.upload_timeout_s
        count = checked_count = checked_frames = 0
        while True:
            try:
                async with asyncio.timeout_at(start + min(seconds, UPLOAD_GRACE_S + count / LEAST_UPLOAD_RATE)):
                    chunk = await anext(stream)
            except TimeoutError:
                pace = f"within {seconds:g} s, or came slower than {LEAST_UPLOAD_RATE / 1000:g} kB a second"
                raise UploadTooSlow(f"the body did not arrive {pace}; send it again, or a smaller image") from None
            if not chunk:
                return
            count += len(chunk)
            # all other bytes on the connection count as framing of the chunks
            frames = self.request.state.client.moved_bytes() - count
            if is_chunked and frames - checked_frames >= CHUNKS * FRAME_BYTES:
                if (count - checked_count) * FRAME_BYTES < (frames - checked_frames) * CHUNK_BYTES:
                    message = f"{CHUNKS} chunks of the body average less than {CHUNK_BYTES} bytes"
                    raise BadRequest(f"{message}; send larger ones, or Content-Length")
                checked_count, checked_frames = count, frames
            self._check_size(count)
            self.set_memory(memory_bytes(count))
            before = asyncio.get_running_loop().time()
            yield chunk
            start += asyncio.get_running_loop().time() - before  # in which the sender was not waited for

    def _check_size(self, count: int) -> None:
        if count > self.limit:
            advice = f"send a smaller file; the operator can raise {self.setting}"
            raise TooLarge(f"the body is larger than {self.limit / 1e6:g} MB; {advice}")

    async def read(self, copies: int) -> bytes:
        """The whole body, which counts `copies` times for the memory. Raises as `chunks`."""
        return b"".join([chunk async for chunk in self.chunks(lambda count: copies * count)])

    def parse(self, data: bytes, example: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object in the body's bytes. `example` is shown in errors. Raises `BadRequest`, and as `set_memory`."""
        self.set_memory((JSON_COPIES if data.isascii() and not WIDE.search(data) else WIDE_COPIES) * len(data))
        if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
            raise BadRequest(f"the JSON has more than {MOST_VALUES} values; send only images and parameters")
        try:
            document = from_json(data.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
        except ValueError as error:
            raise BadRequest(f"the body is not JSON in UTF-8: {error}; send {json.dumps(example)}") from error
        if not isinstance(document, dict):
            raise BadRequest(f"the JSON is no object; send {json.dumps(example)}")
        return document


def media_type(request: Request) -> str:
    """The media type of the request's body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_image(body: RequestBody, query: Query) -> tuple[Upload, Query]:
    """Reads an image, not checked, which is the body, or is in its JSON; and adds the JSON's parameters to the query.

    Raises as `RequestBody`; `BadRequest` for other JSON, `UnsupportedType` for a URL, `BadParameter`, `Unavailable`.
    """
    is_json = media_type(body.request) == "application/json"
    data = await body.read(JSON_COPIES if is_json else IMAGE_COPIES)
    # no image format begins as JSON does
    if is_json and JSON.match(data[:MOST_BEFORE_JSON].lstrip(BEFORE_JSON)):
        data, query = await _parse_image(body, data, query)
    body.set_memory(IMAGE_COPIES * len(data))
    return Upload(body.keep(data)), query


async def _parse_image(body: RequestBody, data: bytes, query: Query) -> tuple[bytes, Query]:
    """The image's bytes in the JSON, and the query with the JSON's parameters."""
    document = body.parse(data, EXAMPLE)
    inputs, parameters = document.pop("inputs", None), document.pop("parameters", None)
    for value in (inputs, *document.values()):
        if isinstance(value, str) and URL.match(value[:VALUE_LENGTH]):
            raise UnsupportedType(URLS.format(excerpt(value[: 2 * VALUE_LENGTH])))
    if not isinstance(inputs, str):
        raise BadRequest(f"the JSON has no text `inputs`; send {json.dumps(EXAMPLE)}")
    if document:
        name = printable(next(iter(document)), VALUE_LENGTH)
        raise BadParameter(f"the JSON has an unknown name {name}; put it into parameters")
    return await _decode(inputs), json_values(query, parameters)


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text of either alphabet, with or without its padding (RFC 4648, sections 4 and 5).

    Raises `ValueError` for other characters, also line breaks.
    """
    padding = "=" * (-len(text) % 4)
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + padding, strict_mode=True)


async def _decode(text: str) -> bytes:
    """The bytes of base64 text, or of a data URL. Between pieces, the event loop serves other requests. Raises `BadRequest`."""
    pieces = []
    begin = prefix.end() if (prefix := DATA_URL.match(text)) else 0
    try:
        if text.find("=", begin, len(text) - 2) >= 0:
            raise ValueError("padding stands before its end")
        for start in range(begin, len(text), PIECE):
            pieces.append(decode_base64(text[start : start + PIECE]))
            await asyncio.sleep(0)
    except ValueError as error:
        advice = f"send {json.dumps(EXAMPLE)}, with the image in base64 without line breaks, as base64 -w0 photo.jpg prints it"
        raise BadRequest(f"`inputs` is not base64: {error}; {advice}") from error
    return b"".join(pieces)
