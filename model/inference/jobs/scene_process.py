"""The front's side of a process that reads a scene and writes its result. For use on an event loop.

The process is confined to a folder, and its memory is limited. It has no place among the workers. A conversation; each line is
a frame, `<-` to the process, `->` from it:

    <- SceneTask (pickled)               -> {"kind": "plan", ...}, or an error
                                         -> a {"kind": "tile"} for each tile, up to `ahead` before logits
    <- logits of each tile, in order     -> {"kind": "rows", ...}, once more rows are in the working file
                                         -> {"kind": "done"}, once the result is written, or an error
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from imaging.errors import DamagedImage, UnknownClass, UnknownImageType, WrongParameter
from model.inference.errors import NoRoom
from model.inference.processes.forkserver import start_program
from model.inference.processes.frames import FrameChannel, Submit, TileRelay, integer, refuse, text
from model.inference.processes.protocol import MOST_MESSAGE, parse_error, parse_head, parse_tile
from model.inference.scenes.request import SceneRequest
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilingError, tile_shapes
from model.printable import printable

MODULE = "model.inference.jobs.scene_program"
STALL_S = 3600.0  # longest time between two frames of a process that works, wall clock
PLAN_TIMEOUT_S = 60.0  # longest time to start the process and to plan a scene, wall clock
MOST_ROWS = (1 << 31) - 1  # of a raster, as GDAL counts them
REFUSALS = (WrongParameter, UnknownImageType, DamagedImage, UnknownClass, TilingError, NoRoom)
"""Errors of a scene that cannot be segmented. The text says why, and what to do."""
log = logging.getLogger("segment")


@dataclass(frozen=True)
class SceneTask:
    """A scene of a job. runtime: a pickled `Runtime`. folder: the only one that it uses, with the scene.

    ahead: how many tiles may be sent before logits must be received.
    """

    runtime: bytes
    request: SceneRequest
    folder: str
    ahead: int


class SceneProcess:
    """A process that works on a scene. It ends with its `scene_process`. remark: of `Bands`, once the scene is planned."""

    def __init__(self, frames: FrameChannel, segmenter: Segmenter, task: SceneTask) -> None:
        self._frames, self._task, tile = frames, task, segmenter.tile(task.request.tile)
        self._shapes, self._channels = tile_shapes(tile), segmenter.channels
        self._most_payload = segmenter.channels * prod(tile)
        self._row, self._rows, self.remark = 0, 0, ""
        self._error: BaseException | None = None

    async def plan(self) -> None:
        """Waits until the scene is planned. Raises one of `REFUSALS`, or `ConnectionError` if the process ended."""
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                document, _ = await self._receive("plan")
        except TimeoutError as error:
            raise DamagedImage(f"the scene was not opened within {PLAN_TIMEOUT_S:g} s; write it again, in tiles") from error
        self._rows = self._parse_rows(document, MOST_ROWS)
        with refuse("a plan"):
            self.remark = printable(text(document["remark"], MOST_MESSAGE))

    async def run(self, submit: Submit, on_rows: Callable[[float], object]) -> None:
        """Runs the tiles of the planned scene until its result is written. on_rows: gets the share of the rows that is done.

        Raises one of `REFUSALS`, an error of `submit`'s futures, `ConnectionError` if the process ended, or `TimeoutError` if
        it is stuck.
        """
        relay = TileRelay(self._frames, submit, self._task.ahead, self._fail)
        try:
            while True:
                async with asyncio.timeout(STALL_S):
                    document, payload = await self._receive("tile", "rows", "done")
                if document["kind"] == "done":
                    return
                if document["kind"] == "rows":
                    self._row = self._parse_rows(document, self._rows)
                    on_rows(self._row / self._rows)
                else:
                    relay.add(parse_tile(document, payload, self._shapes, self._channels))
        finally:
            relay.close()

    def _parse_rows(self, head: Mapping[str, Any], most: int) -> int:
        """The number of rows in a message, more than in the one before. Raises `WorkerBroken`."""
        with refuse("rows"):
            return integer(head["rows"], self._row + 1, most)

    def _fail(self, error: BaseException) -> None:
        """Closes the channel, so that `run` raises the error."""
        self._error = error
        self._frames.close()

    async def _receive(self, *kinds: str) -> tuple[dict[str, Any], memoryview]:
        try:
            head, payload = await self._frames.receive(self._most_payload)
        except OSError:
            if self._error:
                raise self._error from None
            raise
        document = parse_head(head, kinds)
        if document["kind"] == "error":
            raise self._refusal(*parse_error(document))
        return document, payload

    def _refusal(self, name: str, message: str) -> Exception:
        """The exception for an error that the process reports."""
        message = printable(message)
        if kind := next((kind for kind in REFUSALS if kind.__name__ == name), None):
            return kind(message)
        log.error("a scene could not be processed: %s", message, extra={"fields": {"folder": self._task.folder}})
        return DamagedImage("the scene could not be processed, and the service's log says why; write it again, with GDAL")


@asynccontextmanager
async def scene_process(task: SceneTask, segmenter: Segmenter) -> AsyncIterator[SceneProcess]:
    """Starts a process for this task, which ends with the block, and with the thread of this event loop (Linux)."""
    folders = dict.fromkeys(("TMPDIR", "CPL_TMPDIR", "SQLITE_TMPDIR"), task.folder)
    process, channel = start_program(MODULE, folders, subprocess.DEVNULL)
    frames = FrameChannel(channel)
    try:
        frames.send(pickle.dumps(task))
        yield SceneProcess(frames, segmenter, task)
    finally:
        process.kill()
        frames.close()
        await asyncio.shield(asyncio.to_thread(process.wait))  # also if this is cancelled a second time
