"""Messages between a worker process and its parent, over a socket pair.

A frame is a prefix (lengths of head and payload), a head, and a payload of raw bytes. A worker sends its heads as JSON: an
attacker may control the worker, and unpickling its bytes would let the attacker run code in the parent. The parent sends
pickled heads.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import tempfile
from array import array
from collections import deque
from collections.abc import Sequence
from typing import cast

PREFIX = struct.Struct("!IQ")
INLINE_BYTES = 1 << 20  # larger bodies and answers are passed as files
READ_BYTES = 1 << 12  # read at once while no frame is incomplete: most frames fit, and of a larger one little is copied
MOST_HEAD = 1 << 16  # largest head in bytes that a worker may send
MOST_FILES = 2  # file descriptors of one frame
UNASKED = "a worker sent a frame that was not asked for"


class WorkerEnded(ConnectionError):
    """The other end of the socket is closed."""


class WorkerBroken(WorkerEnded):
    """The other end sent an invalid message."""


def send(channel: socket.socket, head: bytes, payload: bytes | memoryview = b"") -> None:
    """Sends a frame; blocks. Raises `OSError` when the other end is closed."""
    start = PREFIX.pack(len(head), len(payload)) + head
    count = channel.sendmsg([start, payload])
    if count < len(start):
        channel.sendall(start[count:])
        count = len(start)
    if count < len(start) + len(payload):
        channel.sendall(memoryview(payload)[count - len(start) :])


def receive(channel: socket.socket) -> tuple[bytes, bytearray, list[int]]:
    """The next frame's head, payload and file descriptors; blocks. Raises `WorkerEnded` when the other end is closed."""
    prefix, descriptors, _, _ = socket.recv_fds(channel, PREFIX.size, MOST_FILES)
    if not prefix:
        raise WorkerEnded("the other end is closed")
    prefix += _receive(channel, PREFIX.size - len(prefix))
    head_bytes, payload_bytes = PREFIX.unpack(prefix)
    return bytes(_receive(channel, head_bytes)), _receive(channel, payload_bytes), list(descriptors)


class FrameChannel(asyncio.BufferedProtocol):
    """Sends and receives frames on an event loop. Received frames are kept in order until `receive` returns them.

    A large frame's bytes are read directly into its own buffer. The other end may send as many frames as `allow` says, at first
    one without a payload; a frame beyond these closes the channel.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._frames: deque[tuple[bytes, memoryview]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end_reason: WorkerEnded | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._allowed_frames, self._most_payload = 1, 0
        self._close_event = asyncio.Event()
        self._buffer = bytearray(READ_BYTES)  # bytes that arrive while no frame is incomplete
        self._buffer_count = 0  # how many of them are kept: a part of a prefix
        self._frame = bytearray()  # head and payload of the incomplete frame
        self._rest = memoryview(self._frame)  # the part of it that has not arrived
        self._head_bytes = 0

    async def open(self) -> None:
        """Starts reading from the socket."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self._channel)

    @property
    def end_reason(self) -> WorkerEnded | None:
        """Why the channel is closed: the other end is closed, or sent an invalid frame. None while it is open."""
        return self._end_reason

    def allow(self, frames: int, most_payload: int) -> None:
        """Lets so many frames arrive, instead of those allowed before, each with a payload of at most `most_payload` bytes.

        Closes the channel if a frame has arrived that nobody has received.
        """
        self._allowed_frames, self._most_payload = frames, most_payload
        if self._frames:
            self._end(WorkerBroken(UNASKED))

    def allow_another(self) -> None:
        """Lets one frame more arrive."""
        self._allowed_frames += 1

    async def receive(self) -> tuple[bytes, memoryview]:
        """The next frame's head and payload. Raises `WorkerEnded`."""
        while not self._frames:
            if self._end_reason:
                raise type(self._end_reason)(str(self._end_reason))
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft()

    def send(self, head: bytes, payload: bytes | memoryview = b"", descriptors: Sequence[int] = ()) -> None:
        """Sends a frame without waiting; bytes that the socket cannot take yet are buffered. Does nothing on a closed channel.

        Raises `OSError` if there are file descriptors and they could not be sent, as while an earlier frame is buffered.
        """
        if self._end_reason or not self._transport:
            return
        start, count = PREFIX.pack(len(head), len(payload)) + head, 0
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        try:
            if self._transport.get_write_buffer_size():
                raise BlockingIOError("an earlier frame is buffered")
            count = self._channel.sendmsg([start, payload], rights)
        except OSError as error:
            if descriptors:
                raise
            if not isinstance(error, BlockingIOError):
                self._end(WorkerEnded(str(error)))
                return
        if count < len(start):
            self._transport.write(start[count:])
        if count < len(start) + len(payload):
            self._transport.write(memoryview(payload)[max(0, count - len(start)) :])

    async def close(self) -> None:
        """Closes the socket, once the event loop no longer uses it."""
        if self._transport:
            self._transport.abort()
            await self._close_event.wait()
        self._channel.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._rest or memoryview(self._buffer)[self._buffer_count :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._rest:
            self._rest = self._rest[nbytes:]
            self._keep_complete_frame()
            return
        data = memoryview(self._buffer)[: self._buffer_count + nbytes]
        while len(data) >= PREFIX.size and not self._end_reason:
            data = self._begin_frame(data)
        self._buffer[: len(data)] = bytes(data)
        self._buffer_count = len(data)

    def eof_received(self) -> None:
        self._end(WorkerEnded("the other end is closed"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(WorkerEnded(str(exc or "the other end is closed")))
        self._close_event.set()

    def _begin_frame(self, data: memoryview) -> memoryview:
        """Takes a frame's prefix, and what has arrived of its head and payload. Returns the bytes after these."""
        head_bytes, payload_bytes = PREFIX.unpack_from(data)
        if not self._allowed_frames:
            self._end(WorkerBroken(UNASKED))
        elif head_bytes > MOST_HEAD or payload_bytes > self._most_payload:
            self._end(WorkerBroken(f"a worker announced a head of {head_bytes} bytes and a payload of {payload_bytes}"))
        else:
            self._allowed_frames -= 1
            self._head_bytes, self._frame = head_bytes, bytearray(head_bytes + payload_bytes)
            frame, data = data[PREFIX.size :][: len(self._frame)], data[PREFIX.size + len(self._frame) :]
            self._frame[: len(frame)] = frame
            self._rest = memoryview(self._frame)[len(frame) :]
            self._keep_complete_frame()
        return data

    def _keep_complete_frame(self) -> None:
        """Keeps the frame for `receive` once all of it has arrived."""
        if not self._rest:
            frame, self._frame = memoryview(self._frame), bytearray()
            self._frames.append((bytes(frame[: self._head_bytes]), frame[self._head_bytes :]))
            self._wake()

    def _end(self, reason: WorkerEnded) -> None:
        """Closes the channel. `receive` raises the first reason after it has returned all complete frames."""
        self._end_reason = self._end_reason or reason
        if self._transport:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def anonymous_file() -> int:
    """A descriptor of an empty file without a name: in memory on Linux, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fcn-segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(descriptor: int) -> None:
    """Makes an `anonymous_file` unchangeable, also for processes that have its descriptor (Linux).

    Raises `OSError` if one of them can still change it: it has mapped it, or has forbidden new seals.
    """
    if hasattr(os, "memfd_create"):
        changes = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, changes | fcntl.F_SEAL_SEAL)


def write_file(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of the data from the start of the file."""
    view, position = memoryview(data), 0
    while position < len(view):
        position += os.pwrite(descriptor, view[position:], position)


def read_file(descriptor: int, count: int, start: int = 0) -> bytes:
    """Up to `count` bytes of the file from the offset `start`."""
    pieces = []
    while count and (piece := os.pread(descriptor, count, start)):
        pieces.append(piece)
        start, count = start + len(piece), count - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _receive(channel: socket.socket, count: int) -> bytearray:
    """Exactly `count` bytes; blocks."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        size = channel.recv_into(view)
        if not size:
            raise WorkerEnded("the other end is closed")
        view = view[size:]
    return data
