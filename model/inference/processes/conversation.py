"""The front's side of the conversation with a process, about an image or a scene. For use on an event loop.

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
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from math import inf, prod
from typing import Any

import numpy as np

from model.inference.errors import Cancelled
from model.inference.merging import Logits
from model.inference.processes.blob import INLINE_BYTES, Blob
from model.inference.processes.frames import UNASKED, FrameChannel, WorkerBroken, refuse, text
from model.inference.processes.protocol import MOST_MESSAGE, REPORTED_ERRORS, Drop, TaskDropped, TileShape, parse_tile
from model.inference.runtime import Tile
from model.printable import printable

Submit = Callable[[Tile], Future[Logits]]
"""Runs a tile through the network, on another thread."""
NOTHING = Blob()
Frame = tuple[dict[str, Any], memoryview]
"""What a process says: a JSON document with its `kind`, and bytes."""


class Conversation:
    """Sends tasks to a process, receives what it says of them, and runs its tiles through the network.

    idle: whether the process has no task.
    """

    def __init__(self, frames: FrameChannel) -> None:
        self.idle, self._frames, self._loop = True, frames, asyncio.get_running_loop()
        self._ahead, self._shapes, self._tile_count = 0, frozenset[TileShape](), inf
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
            if document["kind"] not in (*kinds, "error"):
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
        most_payload = max(INLINE_BYTES, *map(prod, self._shapes))
        while True:
            async with asyncio.timeout(stall_s):
                head, payload = await self.receive("tile", *kinds, most_payload=most_payload)
            if head["kind"] != "tile":
                return head, payload
            tile, waiting = parse_tile(head, payload, self._shapes), len(self._tiles) + self._frames.kept_frames
            self._tile_count -= 1
            if waiting >= self._ahead or self._tile_count < 0:
                raise WorkerBroken(f"{UNASKED}: a tile, while {waiting} wait for logits and {self._tile_count} more may come")
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
