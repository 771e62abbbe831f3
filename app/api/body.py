"""The body of a request, read within limits of size, time and memory, and the image in it: the body itself, or base64 in JSON.

JSON is `{"inputs": BASE64, "parameters": {...}}`, as the clients of Hugging Face's inference API send it. Its long texts stay
in the body until they are decoded, piece by piece.
"""

from __future__ import annotations

import asyncio
import binascii
import json
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from app.api.errors import BadParameter, BadRequest, TooLarge, Unavailable, UnsupportedType, UploadTooSlow
from app.api.query import MOST_CHARACTERS, Query, json_values
from app.connections import current_connection
from app.serving.admission import Reservation
from app.serving.photos import Upload
from app.serving.service import Service
from common.printable import VALUE_LENGTH, excerpt, printable
from model.inference.processes.blob import INLINE_BYTES, Blob, anonymous_file, seal

LEAST_UPLOAD_RATE = 10_000  # bytes per second that a body must arrive with on average
UPLOAD_GRACE_S = 10.0  # seconds before this average is required
# a chunked body is refused if `CHUNKS` chunks in a row average less than `CHUNK_BYTES`: reading them costs more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last: bytes that frame a chunk of 16 to 255 bytes
IMAGE_COPIES = 2  # the worker has one, too
PIECE = 1 << 18  # bytes that are worked on in one turn
IDENTITY = "identity"  # the content coding that changes nothing (RFC 9110, section 8.4.1)
NO_ROOM = {"Retry-After": "10"}
DEFAULT_NAME = Upload.name
JSON_COPIES = 3  # of JSON in memory: the body, the image, and the worker's copy of that
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONG = MOST_CHARACTERS  # bytes from which a text is left out of the outline
MOST_OUTLINE = 1 << 20  # bytes of the JSON without its long texts
MOST_VALUES = 1000  # in it; each may take hundreds of bytes of memory
ESCAPE = 6  # bytes of the longest escape in a text
ALPHABET = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(rb"data:image/[\w.+-]{1,64}(;[\w.=+-]{1,64}){0,4};base64,", re.IGNORECASE)
"""What data URLs (RFC 2397) of images have before their base64."""
LONGEST_URL = 512
BEFORE_JSON = b"\0\xff\xfe \t\r\n" + BYTE_ORDER_MARK  # bytes that may stand before its first sign, in any encoding
MOST_BEFORE_JSON = 1024
JSON = re.compile(rb'[{"]|\[(?!object )')  # `[object Blob]` is what JavaScript writes for one
URL = re.compile(r"\s*(https?|ftp|file|s3|gs)://", re.IGNORECASE)
EXAMPLE = {"inputs": "iVBORw0KGgo=", "parameters": {"format": "json"}}
URLS = "the service does not fetch URLs, got {}; send the image itself: curl URL | curl --data-binary @- THIS_ADDRESS"
log = logging.getLogger("segment")


@dataclass(frozen=True)
class RequestBody:
    """The body of a request, which may have `megabytes` 10^6 bytes. `setting` says so. Its bytes count for the reservation.

    seconds: that it may take to arrive; None for those of the settings. memory: holds its bytes in memory; None for the
    request's reservation.
    Raises `UnsupportedType` for a compressed body, and `TooLarge` for a length above the limit.
    """

    request: Request
    service: Service
    megabytes: float
    setting: str = "SEGMENT_MAX_UPLOAD_MB"
    seconds: float | None = None
    memory: Reservation | None = None

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
        (self.memory or self.reservation).set_body(count)

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
            # all other bytes on the connection are framing; after that of `CHUNKS` chunks, their mean length is looked at
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

    async def read(self, copies: int) -> Blob:
        """The whole body, which counts `copies` times for the memory. Raises as `chunks` and `keep`."""
        return await self.keep(self.chunks(lambda count: copies * count))

    async def keep(self, pieces: AsyncGenerator[bytes, None]) -> Blob:
        """What the pieces are together, which the reservation closes. Raises `Unavailable`."""
        blob, first, size = Blob.of(b""), bytearray(), 0
        self.reservation.callback(blob.close)
        try:
            async for piece in pieces:
                first += piece
                size += len(piece)
                if size > INLINE_BYTES:
                    blob.descriptor = anonymous_file() if blob.descriptor is None else blob.descriptor
                    while first:
                        del first[: os.pwrite(blob.descriptor, first, size - len(first))]
            if blob.descriptor is not None:
                seal(blob.descriptor)
        except OSError as error:
            log.error("an image could not be kept: %s", error)
            raise Unavailable("there is no room for the image; try again later", NO_ROOM, "disk") from error
        blob.data, blob.length = bytes(first), size
        return blob

    async def turn(self) -> None:
        """Waits for a turn of the sender at work of some milliseconds. Each pass of the loop has one, for all requests."""
        if connection := current_connection.get():
            await connection.turn(self.reservation.sender)


def media_type(request: Request) -> str:
    """The media type of the request's body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_image(body: RequestBody, query: Query) -> tuple[Upload, Query]:
    """Reads an image, not checked, which is the body, or is in its JSON; and adds the JSON's parameters to the query.

    Raises as `RequestBody`; `BadRequest` for other JSON, `UnsupportedType` for a URL, `BadParameter`, `Unavailable`.
    """
    is_json = media_type(body.request) == "application/json"
    content = await body.read(JSON_COPIES if is_json else IMAGE_COPIES)
    # no image format begins as JSON does
    if is_json and JSON.match(content.read(MOST_BEFORE_JSON).lstrip(BEFORE_JSON)):
        image, query = await _read_inputs(await read_json(body, content, EXAMPLE), query)
        content.close()
        content = image
    body.set_memory(IMAGE_COPIES * content.length)
    return Upload(content), query


async def _read_inputs(document: JsonBody, query: Query) -> tuple[Blob, Query]:
    """The image in the JSON, and the query with the JSON's parameters."""
    values = document.values
    inputs, parameters = values.pop("inputs", None), values.pop("parameters", None)
    for value in (inputs, *values.values()):
        if isinstance(value, str) and URL.match(value[:VALUE_LENGTH]):
            raise UnsupportedType(URLS.format(excerpt(value[: 2 * VALUE_LENGTH])))
    if not isinstance(inputs, str):
        raise BadRequest(f"the JSON has no text `inputs`; send {json.dumps(EXAMPLE)}")
    if values:
        name = printable(next(iter(values)), VALUE_LENGTH)
        raise BadParameter(f"the JSON has an unknown name {name}; put it into parameters")
    query = json_values(query, parameters)
    advice = f"send {json.dumps(EXAMPLE)}, with the image in base64 without line breaks, as base64 -w0 photo.jpg prints it"
    return await document.image(inputs, "`inputs` is not base64", advice), query


@dataclass(frozen=True)
class JsonBody:
    """The JSON object in a body. content: the body's bytes.

    values: its members; a text of more than `LONG` bytes is a name there. spans: where those texts stand, by their names.
    """

    body: RequestBody
    content: Blob
    values: dict[str, Any]
    spans: Mapping[str, tuple[int, int]]

    async def image(self, text: str, problem: str, advice: str) -> Blob:
        """The bytes of base64 text of either alphabet, with or without its padding (RFC 4648, sections 4 and 5), or a data URL.

        text: as it stands in `values`. problem, advice: what `BadRequest` says for other characters, also line breaks. Raises
        as `RequestBody.keep`, too.
        """
        short = Blob(text.encode())
        content, (start, end) = (self.content, self.spans[text]) if text in self.spans else (short, (0, len(short.data)))
        if match := DATA_URL.match(content.read(LONGEST_URL, start)):
            start += match.end()
        try:
            return await self.body.keep(self._decoded(content, start, end))
        except ValueError as error:
            raise BadRequest(f"{problem}: {error}; {advice}") from error

    async def _decoded(self, content: Blob, start: int, end: int) -> AsyncGenerator[bytes, None]:
        rest = b""  # of four characters
        while start < end:
            await self.body.turn()
            piece = content.read(min(PIECE, end - start), start)
            if start + len(piece) < end and (length := piece.find(b"\\", 1 - ESCAPE)) > 0:  # it may go on
                piece = piece[:length]
            start += len(piece)
            text = from_json(b'"%b"' % piece).encode() if b"\\" in piece else piece
            rest += text.translate(ALPHABET)
            count = len(rest) // 4 * 4 if start < end else len(rest)
            if start < end and b"=" in rest[:count]:
                raise ValueError("padding stands before its end")
            data = binascii.a2b_base64(rest[:count] + b"=" * (-count % 4), strict_mode=True)
            rest = rest[count:]
            yield data


async def read_json(body: RequestBody, content: Blob, example: Mapping[str, Any]) -> JsonBody:
    """The JSON object in the body's bytes. `example` is shown in errors. Raises `BadRequest`."""
    outline, spans = await _outline(body, content)
    await body.turn()
    try:
        values = from_json(outline.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON in UTF-8: {error}; send {json.dumps(example)}") from error
    if not isinstance(values, dict):
        raise BadRequest(f"the JSON is no object; send {json.dumps(example)}")
    return JsonBody(body, content, values, spans)


async def _outline(body: RequestBody, content: Blob) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The JSON with a name for each long text, and where those texts stand. Raises `BadRequest` for too much besides them."""
    outline, spans = bytearray(), dict[str, tuple[int, int]]()
    start: int | None = None  # the offset of the text that is open, None outside of one
    marks = slashes = 0  # quotation marks so far, and the backslashes directly before `position`
    for offset in range(0, content.length, PIECE):
        await body.turn()
        piece, position = content.read(PIECE, offset), 0
        marks += piece.count(b'"')
        while position < len(piece) and marks <= 4 * MOST_VALUES:
            mark = piece.find(b'"', position)
            part = piece[position:mark] if mark >= 0 else piece[position:]
            slashes = len(part) - len(bare := part.rstrip(b"\\")) + (0 if bare else slashes)
            position += len(part) + 1
            if start is None:
                outline += part + b'"' * (mark >= 0)
                start = offset + position if mark >= 0 else None
            elif mark >= 0 and not slashes % 2:
                if (count := offset + mark - start) <= LONG:
                    outline += content.read(count + 1, start)
                else:
                    name = f"text {len(spans)} of more than {LONG} bytes".ljust(LONG + 1)  # too long for a parameter
                    outline += f'{name}"'.encode()
                    spans[name] = start, start + count
                start = None
            slashes = 0 if mark >= 0 else slashes
        if marks > 4 * MOST_VALUES or sum(map(outline.count, (b",", b"[", b"{"))) > MOST_VALUES:
            raise BadRequest(f"the JSON has more than {MOST_VALUES} values; send only images and parameters")
        if len(outline) > MOST_OUTLINE:
            raise BadRequest(f"the JSON has more than {MOST_OUTLINE} bytes besides images; send only images and parameters")
    return bytes(outline), spans
