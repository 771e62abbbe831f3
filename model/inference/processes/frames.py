"""Frames between a worker process and the front, over a socket pair; and the anonymous files that go with them.

A frame is a prefix (lengths of head and payload), a head, and a payload of raw bytes. A worker sends its heads as JSON: an
attacker may control the worker, and unpickling its bytes would let the attacker run code in the front. The front sends
pickled heads.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import tempfile
from collections import deque
from collections.abc import Sequence

PREFIX = struct.Struct("!IQ")
INLINE_BYTES = 1 << 20  # larger bodies and answers are passed as files
MOST_HEAD = 1 << 16  # largest head in bytes that a worker may send
CLOSED, UNASKED = "the other end is closed", "a worker sent a frame that was not asked for"


class WorkerEnded(ConnectionError):
    """The other end of the socket is closed."""


class WorkerBroken(WorkerEnded):
    """The other end sent an invalid message."""


def send(channel: socket.socket, head: bytes, payload: bytes | memoryview = b"") -> None:
    """Sends a frame; blocks. Raises `OSError` when the other end is closed."""
    channel.sendall(PREFIX.pack(len(head), len(payload)) + head)
    channel.sendall(payload)


def receive(channel: socket.socket) -> tuple[bytes, memoryview, list[int]]:
    """The next frame's head, payload and file descriptor, if there is one; blocks.

    Raises `WorkerEnded` when the other end is closed.
    """
    prefix, descriptors, _, _ = socket.recv_fds(channel, PREFIX.size, 1, socket.MSG_WAITALL)
    if len(prefix) < PREFIX.size:
        raise WorkerEnded(CLOSED)
    head_bytes, payload_bytes = PREFIX.unpack(prefix)
    data = memoryview(bytearray(head_bytes + payload_bytes))
    if channel.recv_into(data, len(data), socket.MSG_WAITALL) < len(data):
        raise WorkerEnded(CLOSED)
    return bytes(data[:head_bytes]), data[head_bytes:], list(descriptors)


class FrameChannel:
    """Sends and receives frames on an event loop. What nobody waits for stays in the socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[memoryview] = deque()

    def fault(self) -> WorkerEnded | None:
        """What is wrong while nobody waits for a frame: the other end is closed, or has sent one. None if it is silent."""
        try:
            return WorkerBroken(UNASKED) if self._channel.recv(1, socket.MSG_PEEK) else WorkerEnded(CLOSED)
        except BlockingIOError:
            return None
        except OSError as error:
            return WorkerEnded(str(error))

    async def receive(self, most_payload: int = 0) -> tuple[bytes, memoryview]:
        """The next frame's head and payload. Raises `OSError`: a `WorkerBroken` for larger ones, before they are read."""
        head_bytes, payload_bytes = PREFIX.unpack(await self._receive(PREFIX.size))
        if head_bytes > MOST_HEAD or payload_bytes > most_payload:
            raise WorkerBroken(f"a worker announced a head of {head_bytes} bytes and a payload of {payload_bytes}")
        frame = memoryview(await self._receive(head_bytes + payload_bytes))
        return bytes(frame[:head_bytes]), frame[head_bytes:]

    def send(self, head: bytes, payload: bytes | memoryview = b"", descriptors: Sequence[int] = ()) -> None:
        """Sends a frame without waiting; bytes that the socket cannot take yet are kept.

        If the other end is closed, `receive` says so, and not this. Raises `OSError` if there are file descriptors and they
        could not be sent, as while an earlier frame is kept.
        """
        start = PREFIX.pack(len(head), len(payload)) + head
        if descriptors:
            if self._unsent:
                raise BlockingIOError("an earlier frame is kept")
            start = start[socket.send_fds(self._channel, [start], descriptors) :]
        self._unsent += memoryview(start), memoryview(payload)
        self._flush()

    def close(self) -> None:
        """Closes the socket. Nobody waits for a frame any more."""
        self._loop.remove_writer(self._channel)
        self._channel.close()

    async def _receive(self, count: int) -> bytearray:
        """Exactly `count` bytes."""
        data = bytearray(count)
        view = memoryview(data)
        while view:
            size = await self._loop.sock_recv_into(self._channel, view)
            if not size:
                raise WorkerEnded(CLOSED)
            view = view[size:]
        return data

    def _flush(self) -> None:
        """Sends what is kept, as far as the socket takes it; the event loop then calls this again."""
        try:
            while self._unsent:
                self._unsent[0] = self._unsent[0][self._channel.send(self._unsent[0]) :]
                if not self._unsent[0]:
                    self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._flush)
            return
        except OSError:  # the other end is closed, as `receive` says
            self._unsent.clear()
        self._loop.remove_writer(self._channel)


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
