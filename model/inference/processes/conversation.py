"""The conversation of the front with a process, about an image or a scene, over a socket pair.

A frame is a prefix (lengths of head and payload), a head, and a payload of raw bytes. A process sends its heads as JSON: an
attacker may control it, and unpickling its bytes would let the attacker run code in the front. The front sends pickled heads.
Each line is a frame, `<-` to the process, `->` from it:

    <- the task (pickled), with the image's bytes or their file   -> {"kind": "plan", ...}, or an error
    <- of an image: the memory that the work may take,
       and the file for an answer larger than a frame may be      -> {"kind": "tile"}s, up to `ahead` before logits
    <- logits of each tile, in order                              -> of a scene {"kind": "rows", ...}, once more are kept
                                                                  -> {"kind": "answer", ...}, or an error

A worker has one task after another, and `Drop` ends one at any time after the plan. The process of a scene has one task.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf, prod
from threading import Lock
from typing import Any

import numpy as np

from common.printable import printable
from model.inference.errors import Cancelled
from model.inference.merging import Logits
from model.inference.processes import protocol
from model.inference.processes.blob import INLINE_BYTES, Blob
from model.inference.processes.protocol import (
    MOST_MESSAGE,
    REPORTED_ERRORS,
    Drop,
    TaskDropped,
    TileShape,
    WorkerBroken,
    WorkerEnded,
    refuse,
    text,
)
from model.inference.runtime import Submit, Tile

PREFIX = struct.Struct("!IQ")
MOST_HEAD = 1 << 16  # largest head in bytes that a process may send
CLOSED, UNASKED = "the other end is closed", "a worker sent a frame that was not asked for"
NOTHING = Blob()
Frame = tuple[dict[str, Any], memoryview]
"""What a process says: a JSON document with its `kind`, and bytes."""


class Conversation:
    """The front's side. Sends tasks to a process, receives what it says of them, and runs its tiles through the network.

    For use on an event loop. idle: whether the process has no task.
    """

    def __init__(self, frames: FrameChannel) -> None:
        self.idle, self._frames, self._loop = True, frames, asyncio.get_running_loop()
        self._ahead, self._shapes, self._tile_count, self._most_payload = 0, frozenset[TileShape](), inf, 0
        self._tiles: deque[Future[Logits]] = deque()
        self._error: BaseException | None = None  # why the task was dropped

    def begin(self, task: object, ahead: int, body: Blob = NOTHING) -> None:
        """Sends a task, with an image's bytes. ahead: how many tiles the process may send before it waits for logits.

        Raises `OSError`.
        """
        self.idle, self._ahead, self._error = False, ahead, None
        self.send(task, body)

    def send(self, message: object, body: Blob = NOTHING) -> None:
        """Sends a message of the task, with these bytes or their file. Raises `OSError` if a file cannot be sent."""
        descriptors = [] if body.descriptor is None else [body.descriptor]
        self._frames.send(pickle.dumps(message), body.data, descriptors)

    def expect(self, shapes: Iterable[TileShape], tile_count: float = inf) -> None:
        """Says which tiles the task may have: (height, width, channels) of each, and how many."""
        self._shapes, self._tile_count = frozenset(shapes), tile_count
        self._most_payload = max(INLINE_BYTES, *map(prod, self._shapes))

    def drop(self, error: BaseException) -> None:
        """Tells the process to drop its task. Once it says that it has, `receive` raises the error."""
        self._error = error
        self.end_tiles()
        self.send(Drop())

    async def receive(self, *kinds: str, most_payload: int = 0) -> Frame:
        """The next frame, of one of these kinds. Raises the error that the process reports, or `OSError`."""
        head, payload = await self._frames.receive(most_payload)
        with refuse("a message"):
            document: dict[str, Any] = json.loads(head)
            if document["kind"] not in (kinds := (*kinds, "error")):
                raise ValueError(f"the kind {document['kind']!r:.100}, expected {' or '.join(kinds)}")
        if document["kind"] != "error":
            return document, payload
        with refuse("an error"):
            name, message = text(document["type"], 100), printable(text(document["message"], MOST_MESSAGE))
        self.idle, error = True, REPORTED_ERRORS.get(name)
        if error is TaskDropped and self._error:
            raise self._error
        raise self.unexpected(error, message) if error in (None, TaskDropped, MemoryError) else error(message)

    def unexpected(self, error: type[Exception] | None, message: str) -> Exception:
        """What to raise for a `MemoryError`, and for an error that no file should cause."""
        return OSError(message)

    async def run_tiles(self, submit: Submit, *kinds: str, stall_s: float | None = None) -> Frame:
        """Runs the tiles that come, until a frame of one of these kinds, which it returns. `end_tiles` has to follow the last.

        stall_s: longest time between two frames. Raises as `receive`, `TimeoutError`, and an error of `submit`'s futures once
        the process has dropped its task.
        """
        while True:
            async with asyncio.timeout(stall_s):
                head, payload = await self.receive("tile", *kinds, most_payload=self._most_payload)
            if head["kind"] != "tile":
                return head, payload
            tile, count = protocol.parse_tile(head, payload, self._shapes), len(self._tiles) + self._frames.kept_frames
            self._tile_count -= 1
            if count >= self._ahead or self._tile_count < 0:
                raise WorkerBroken(f"{UNASKED}: a tile, while {count} wait for logits and {self._tile_count} more may come")
            self._tiles.append(submit(tile))
            self._tiles[-1].add_done_callback(self._end_tile)

    def end_tiles(self) -> None:
        """Cancels the tiles that have no logits yet."""
        while self._tiles:
            self._tiles.popleft().cancel()

    def _end_tile(self, _: Future[Logits]) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._send_logits)

    def _send_logits(self) -> None:
        """Sends the logits of finished tiles, in order. A tile that has none drops the task."""
        while self._tiles and self._tiles[0].done():
            tile = self._tiles.popleft()
            if error := Cancelled("a tile was cancelled") if tile.cancelled() else tile.exception():
                self.drop(error)
            else:
                logits = np.ascontiguousarray(tile.result())
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))


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


class Front:
    """The front, as its process sees it. Any thread may send, one receives; both block. Raises `OSError` once it has ended."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._lock = channel, Lock()

    def send(self, head: Mapping[str, object], payload: bytes | memoryview = b"") -> None:
        with self._lock:
            send(self._channel, json.dumps(head).encode(), payload)

    def send_tile(self, tile: Tile) -> None:
        self.send({"kind": "tile", "shape": tile.shape}, np.ascontiguousarray(tile).data.cast("B"))

    def receive(self) -> tuple[Any, memoryview, list[int]]:
        """The next message, its bytes, and the descriptor of its file, if there is one. Raises `TaskDropped`."""
        head, payload, descriptors = receive(self._channel)
        message = pickle.loads(head)  # noqa: S301 (from the process that started this one)
        if isinstance(message, Drop):
            raise TaskDropped
        return message, payload, descriptors

    def receive_logits(self) -> Logits:
        """The logits of the next tile, in the order in which they were sent. Raises `TaskDropped`."""
        shape, payload, _ = self.receive()
        return np.frombuffer(payload, np.float32).reshape(shape)


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
