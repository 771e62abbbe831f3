"""Messages between a worker process and the process that started it, over a socket pair.

A frame is a prefix (lengths of head and payload), a head, and a payload of raw bytes. Heads that a worker sends are JSON, since
an attacker may have got hold of it, and unpickling would give him this process as well. Those that it gets are pickled.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from array import array
from collections.abc import Sequence

PREFIX = struct.Struct("!IQ")
INLINE_BYTES = 1 << 20  # larger bodies and answers travel as files
MOST_PAYLOAD = 1 << 28  # bytes that a worker may announce: a tile of 4096x4096 takes 48 MiB
MOST_HEAD = 1 << 20
MOST_FILES = 2


class WorkerEnded(ConnectionError):
    """The other end of the socket is closed."""


def send(channel: socket.socket, head: bytes, payload: bytes | memoryview = b"") -> None:
    """Sends a frame; blocks. Raises `OSError` where the other end is closed."""
    channel.sendall(PREFIX.pack(len(head), len(payload)) + head)
    if len(payload):
        channel.sendall(payload)


def receive(channel: socket.socket) -> tuple[bytes, bytearray, list[int]]:
    """The next frame's head, payload and file descriptors; blocks. Raises `WorkerEnded` where the other end is closed."""
    prefix, descriptors, _, _ = socket.recv_fds(channel, PREFIX.size, MOST_FILES)
    if not prefix:
        raise WorkerEnded("the other end is closed")
    prefix += _receive(channel, PREFIX.size - len(prefix))
    head_bytes, payload_bytes = PREFIX.unpack(prefix)
    return bytes(_receive(channel, head_bytes)), _receive(channel, payload_bytes), list(descriptors)


async def send_async(channel: socket.socket, head: bytes, payload: bytes | memoryview = b"") -> None:
    """As `send`, on the event loop; the channel does not block."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(channel, PREFIX.pack(len(head), len(payload)) + head)
    if len(payload):
        await loop.sock_sendall(channel, payload)


async def send_files(channel: socket.socket, head: bytes, payload: bytes, descriptors: Sequence[int]) -> None:
    """As `send_async`, with file descriptors. The other end must have read all that was sent before."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    channel.sendmsg([PREFIX.pack(len(head), len(payload))], rights)
    await asyncio.get_running_loop().sock_sendall(channel, head + payload)


async def receive_async(channel: socket.socket) -> tuple[bytes, bytearray]:
    """As `receive`, on the event loop, without descriptors. Raises `ValueError` for lengths that no worker sends."""
    head_bytes, payload_bytes = PREFIX.unpack(await _receive_async(channel, PREFIX.size))
    if head_bytes > MOST_HEAD or payload_bytes > MOST_PAYLOAD:
        raise ValueError(f"a worker announced a head of {head_bytes} bytes and a payload of {payload_bytes}")
    return bytes(await _receive_async(channel, head_bytes)), await _receive_async(channel, payload_bytes)


def anonymous_file() -> int:
    """A descriptor of an empty file without a name: in memory where the system can (Linux), else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fcn-segment", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_file(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of the data at the file's beginning."""
    view, position = memoryview(data), 0
    while position < len(view):
        position += os.pwrite(descriptor, view[position:], position)


def read_file(descriptor: int, count: int, start: int = 0) -> bytes:
    """Up to so many bytes of the file from `start` on."""
    pieces = []
    while count and (piece := os.pread(descriptor, count, start)):
        pieces.append(piece)
        start, count = start + len(piece), count - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _receive(channel: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        received = channel.recv_into(view)
        if not received:
            raise WorkerEnded("the other end is closed")
        view = view[received:]
    return data


async def _receive_async(channel: socket.socket, count: int) -> bytearray:
    loop, data = asyncio.get_running_loop(), bytearray(count)
    view = memoryview(data)
    while view:
        received = await loop.sock_recv_into(channel, view)
        if not received:
            raise WorkerEnded("the other end is closed")
        view = view[received:]
    return data
