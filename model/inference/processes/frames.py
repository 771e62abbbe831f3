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
JOINED_BYTES = 1 << 16  # payloads up to this are copied behind their head, and sent in one call
MOST_HEAD = 1 << 16  # largest head in bytes that a worker may send
MOST_FILES = 2  # file descriptors of one frame


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

    The socket's bytes are read directly into each frame's own buffer, so they are copied once. The other end may send as many
    frames as `allow` says, at first one without a payload; a frame beyond these closes the channel.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._frames: deque[tuple[bytes, memoryview]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end_reason: WorkerEnded | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._allowed_frames, self._most_payload = 1, 0
        self._close_event = asyncio.Event()
        self._head_bytes: int | None = None  # length of the current frame's head; None while its prefix is being read
        self._buffer = bytearray(PREFIX.size)
        self._view = memoryview(self._buffer)  # the part of the buffer that is not yet filled

    async def open(self) -> None:
        """Starts reading from the socket."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self._channel)

    @property
    def end_reason(self) -> WorkerEnded | None:
        """Why the channel is closed: the other end is closed, or sent an invalid frame. None while it is open."""
        return self._end_reason

    def allow(self, frames: int, most_payload: int) -> None:
        """Lets so many frames arrive, instead of those allowed before, each with a payload of at most `most_payload` bytes."""
        self._allowed_frames, self._most_payload = frames, most_payload

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

    def send(self, head: bytes, payload: bytes | memoryview = b"") -> None:
        """Sends a frame without waiting. Bytes that the socket cannot take yet are buffered."""
        if self._transport:
            start = PREFIX.pack(len(head), len(payload)) + head
            if len(payload) <= JOINED_BYTES:
                self._transport.write(start + payload)
            else:
                self._transport.write(start)
                self._transport.write(payload)

    def send_files(self, head: bytes, payload: bytes, descriptors: Sequence[int]) -> None:
        """As `send`, with file descriptors; raises `OSError`.

        Call it only while no earlier frame is buffered: the descriptors are sent past the buffer.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        self._channel.sendmsg([PREFIX.pack(len(head), len(payload))], rights)
        if self._transport:
            self._transport.write(head + payload)

    async def close(self) -> None:
        """Closes the socket, once the event loop no longer uses it."""
        if self._transport:
            self._transport.abort()
            await self._close_event.wait()
        self._channel.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._view = self._view[nbytes:]
        if self._view:
            return
        if self._head_bytes is None:
            head_bytes, payload_bytes = PREFIX.unpack(self._buffer)
            if not self._allowed_frames:
                self._end(WorkerBroken("a worker sent a frame that was not asked for"))
                return
            if head_bytes > MOST_HEAD or payload_bytes > self._most_payload:
                self._end(WorkerBroken(f"a worker announced a head of {head_bytes} bytes and a payload of {payload_bytes}"))
                return
            self._allowed_frames -= 1
            self._await(head_bytes + payload_bytes, head_bytes)
            return
        frame = memoryview(self._buffer)
        self._frames.append((bytes(frame[: self._head_bytes]), frame[self._head_bytes :]))
        self._await(PREFIX.size, None)
        self._wake()

    def eof_received(self) -> None:
        self._end(WorkerEnded("the other end is closed"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(WorkerEnded(str(exc or "the other end is closed")))
        self._close_event.set()

    def _await(self, count: int, head_bytes: int | None) -> None:
        """Prepares to read `count` bytes: a prefix (`head_bytes` is None), or a head of `head_bytes` and its payload."""
        self._buffer, self._head_bytes = bytearray(count), head_bytes
        self._view = memoryview(self._buffer)

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
