"""The tiles of a process that works on an image or a scene: the network runs them here, and the process gets their logits."""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

import numpy as np

from model.inference.errors import Cancelled
from model.inference.merging import Logits
from model.inference.processes.frames import UNASKED, FrameChannel, WorkerBroken
from model.inference.runtime import Tile

Submit = Callable[[Tile], Future[Logits]]
"""Runs a tile through the network, on another thread."""


class TileRelay:
    """Runs tiles through the network, and sends their logits to the process in order. For use on an event loop.

    ahead: how many tiles a process may have sent without having received their logits. fail: is told once why a tile has no
    logits; nothing is sent afterwards.
    """

    def __init__(self, frames: FrameChannel, submit: Submit, ahead: int, fail: Callable[[BaseException], object]) -> None:
        self._frames, self._submit, self._ahead, self._fail = frames, submit, ahead, fail
        self._tiles: deque[Future[Logits]] = deque()
        self._has_failed = False
        self._loop = asyncio.get_running_loop()

    def add(self, tile: Tile) -> None:
        """Runs one more tile. Raises `WorkerBroken` if the process receives no logits before it sends so many."""
        waiting = len(self._tiles) + self._frames.kept_frames
        if waiting >= self._ahead:
            raise WorkerBroken(f"{UNASKED}: a tile, while it has to receive the logits of {waiting}")
        self._tiles.append(self._submit(tile))
        self._tiles[-1].add_done_callback(self._end)

    def close(self) -> None:
        """Cancels the tiles that have no logits yet."""
        while self._tiles:
            self._tiles.popleft().cancel()

    def _end(self, _: Future[Logits]) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._send)

    def _send(self) -> None:
        """Sends the logits of finished tiles, in order."""
        while self._tiles and self._tiles[0].done() and not self._has_failed:
            tile = self._tiles.popleft()
            if error := Cancelled("a tile was cancelled") if tile.cancelled() else tile.exception():
                self._has_failed = True
                self._fail(error)
            else:
                logits = np.ascontiguousarray(tile.result())
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))
