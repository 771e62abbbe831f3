"""The body of a request, read within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from app.api.errors import BadRequest, TooLarge, Unavailable, UnsupportedType, UploadTooSlow
from app.serving.admission import Reservation
from app.serving.photos import Upload
from app.serving.service import Service
from app.telemetry import VALUE_LENGTH
from model.inference.processes.blob import INLINE_BYTES, Blob, anonymous_file, seal
from model.printable import printable

LEAST_UPLOAD_RATE = 10_000  # bytes per second that a body must arrive with on average
UPLOAD_GRACE_S = 10.0  # seconds before this average is required
# a chunked body is refused if `CHUNKS` chunks in a row average less than `CHUNK_BYTES`: reading them costs more than the image
CHUNK_BYTES, CHUNKS, FRAME_BYTES = 64, 1000, 6  # the last: bytes that frame a chunk of 16 to 255 bytes
IMAGE_COPIES = 2  # the worker has one, too
PIECE = 1 << 18  # bytes that are worked on in one turn
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

    async def read(self, copies: int) -> Blob:
        """The whole body, which counts `copies` times for the memory. Raises as `chunks` and `keep`."""
        return await self.keep(self.chunks(lambda count: copies * count))

    async def keep(self, pieces: AsyncGenerator[bytes, None]) -> Blob:
        """What the pieces are together, which the reservation closes. Raises `Unavailable`."""
        blob, first, size = Blob(), bytearray(), 0
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

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn of the sender at work of some milliseconds. Each pass of the event loop has one, for all bodies."""
        async with self.service.body_turns.turn(self.reservation.sender):
            yield
            await asyncio.sleep(0)


def media_type(request: Request) -> str:
    """The media type of the request's body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
