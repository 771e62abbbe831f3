"""Frames between a worker process and the front, over a socket pair.

A frame is a prefix (lengths of head and payload), a head, and a payload of raw bytes. A worker sends its heads as JSON: an
attacker may control the worker, and unpickling its bytes would let the attacker run code in the front. The front sends
pickled heads. `integer`, `number` and `text` check what stands in a worker's head, within `refuse`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

PREFIX = struct.Struct("!IQ")
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


@contextmanager
def refuse(what: str) -> Iterator[None]:
    """Raises `WorkerBroken` for what a parser raises at a message that no process of ours sends."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise WorkerBroken(f"a worker sent {what} that cannot be: {str(error)[:300]}") from error


def integer(value: object, least: int, most: int) -> int:
    """The value of a head, if it is an integer of this range; raises `ValueError` otherwise, as `number` and `text` do."""
    if type(value) is not int or not least <= value <= most:  # True is an int as well
        raise ValueError(f"{value!r:.100}, expected an integer from {least} to {most}")
    return value


def number(value: object, most: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{value!r:.100}, expected a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{value!r:.100}, expected a text of at most {most} characters")
    return value


class FrameChannel:
    """Sends and receives frames on an event loop. What nobody waits for stays in the socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[memoryview] = deque()
        self._is_receiving = self._is_closed = False

    def fault(self) -> WorkerEnded | None:
        """What is wrong while nobody waits for a frame: the other end is closed, or has sent one. None if it is silent."""
        try:
            return WorkerBroken(UNASKED) if self._channel.recv(1, socket.MSG_PEEK) else WorkerEnded(CLOSED)
        except BlockingIOError:
            return None
        except OSError as error:
            return WorkerEnded(str(error))

    @property
    def kept_frames(self) -> int:
        """How many frames the other end has not received wholly."""
        return (len(self._unsent) + 1) // 2

    async def receive(self, most_payload: int = 0) -> tuple[bytes, memoryview]:
        """The next frame's head and payload. Raises `OSError`: a `WorkerBroken` for larger ones, before they are read."""
        head_bytes, payload_bytes = PREFIX.unpack(await self._receive(PREFIX.size))
        if head_bytes > MOST_HEAD or payload_bytes > most_payload:
            raise WorkerBroken(f"a worker announced a head of {head_bytes} bytes and a payload of {payload_bytes}")
        frame = memoryview(await self._receive(head_bytes + payload_bytes))
        return bytes(frame[:head_bytes]), frame[head_bytes:]

    def send(self, head: bytes, payload: bytes | memoryview = b"", descriptors: Sequence[int] = ()) -> None:
        """Sends a frame without waiting; bytes that the socket cannot take yet are kept.

        If either end is closed, `receive` says so, and not this. Raises `OSError` if there are file descriptors and they
        could not be sent, as while an earlier frame is kept.
        """
        start = PREFIX.pack(len(head), len(payload)) + head
        if descriptors:
            if self._unsent:
                raise BlockingIOError("an earlier frame is kept")
            start = start[socket.send_fds(self._channel, [start], descriptors) :]
        if not self._is_closed:
            self._unsent += memoryview(start), memoryview(payload)
            self._flush()

    def close(self) -> None:
        """Closes the socket, once. Who waits for a frame gets `WorkerEnded`."""
        if self._is_closed:
            return
        self._loop.remove_writer(self._channel)
        self._is_closed = True
        if self._is_receiving:
            with suppress(OSError):  # the other end is closed
                self._channel.shutdown(socket.SHUT_RDWR)  # wakes `_receive`, which closes it
        else:
            self._channel.close()

    async def _receive(self, count: int) -> bytearray:
        """Exactly `count` bytes."""
        data = bytearray(count)
        view = memoryview(data)
        if self._is_closed:
            raise WorkerEnded(CLOSED)
        self._is_receiving = True
        try:
            while view:
                size = await self._loop.sock_recv_into(self._channel, view)
                if not size:
                    raise WorkerEnded(CLOSED)
                view = view[size:]
        finally:
            self._is_receiving = False
            if self._is_closed:
                self._channel.close()
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
