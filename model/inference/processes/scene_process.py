"""The front's side of a process that reads a scene and writes its results. For use on an event loop.

The process is confined to a folder, and its memory is limited. It has no place among the workers.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.printable import printable
from imaging.errors import DamagedImage
from model.inference.processes.conversation import Conversation, FrameChannel
from model.inference.processes.forkserver import start_program
from model.inference.processes.protocol import MOST_MESSAGE, integer, refuse, text
from model.inference.runtime import Submit
from model.inference.scenes.request import SceneRequest
from model.inference.segmenter import Segmenter
from model.inference.tiling import tile_shapes

MODULE = "model.inference.processes.scene_program"
STALL_S = 3600.0  # longest time between two frames of a process that works, for each output, wall clock
PLAN_TIMEOUT_S = 60.0  # longest time to start the process and to plan a scene, wall clock
MOST_TILES = 1 << 36  # of a scene
log = logging.getLogger("segment")


@dataclass(frozen=True)
class SceneTask:
    """A scene of a job. runtime: a pickled `Runtime`. requests: of its outputs, which differ in these alone. folder: the only
    one that it uses, with the scene.

    ahead: how many tiles may be sent before logits must be received.
    """

    runtime: bytes
    requests: Sequence[SceneRequest]
    folder: str
    ahead: int


class SceneProcess(Conversation):
    """A process that works on a scene. It ends with its `scene_process`. remark: of `Bands`, once the scene is planned."""

    def __init__(self, frames: FrameChannel, segmenter: Segmenter, task: SceneTask) -> None:
        super().__init__(frames)
        self._folder, self._progress, self._of_all, self.remark = task.folder, 0, 0, ""
        self._stall_s = STALL_S * len(task.requests)  # each is written without a word
        self.begin(task, task.ahead)
        self.expect((*shape, segmenter.channels) for shape in tile_shapes(segmenter.tile(task.requests[0].tile)))

    async def plan(self) -> None:
        """Waits until the scene is planned. Raises one of `REFUSALS`, or `ConnectionError` if the process ended."""
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                document, _ = await self.receive("plan")
        except TimeoutError as error:
            raise DamagedImage(f"the scene was not opened within {PLAN_TIMEOUT_S:g} s; write it again, in tiles") from error
        self._of_all = self._parse_tiles(document, MOST_TILES)
        with refuse("a plan"):
            self.remark = printable(text(document["remark"], MOST_MESSAGE))

    async def run(self, submit: Submit, on_rows: Callable[[float], object]) -> None:
        """Runs the tiles of the planned scene until its results are written. on_rows: gets the share of the tiles that is done.

        Raises one of `REFUSALS`, an error of `submit`'s futures, `ConnectionError` if the process ended, or `TimeoutError` if
        it is stuck.
        """
        try:
            while (head := (await self.run_tiles(submit, "rows", "answer", stall_s=self._stall_s))[0])["kind"] == "rows":
                self._progress = self._parse_tiles(head, self._of_all)
                on_rows(self._progress / self._of_all)
        except ConnectionError:
            if self._error:
                raise self._error from None
            raise
        finally:
            self.end_tiles()

    def drop(self, error: BaseException) -> None:
        """Closes the channel, which ends the process, so that `run` raises the error."""
        super().drop(error)
        self._frames.close()

    def unexpected(self, error: type[Exception] | None, message: str) -> Exception:
        log.error("a scene could not be processed: %s", message, extra={"fields": {"folder": self._folder}})
        return DamagedImage("the scene could not be processed, and the service's log says why; write it again, with GDAL")

    def _parse_tiles(self, head: Mapping[str, Any], most: int) -> int:
        """The number of tiles in a message, more than in the one before. Raises `WorkerBroken`."""
        with refuse("tiles"):
            return integer(head["tiles"], self._progress + 1, most)


@asynccontextmanager
async def scene_process(task: SceneTask, segmenter: Segmenter) -> AsyncIterator[SceneProcess]:
    """Starts a process for this task, which ends with the block, and with the thread of this event loop (Linux)."""
    folders = dict.fromkeys(("TMPDIR", "CPL_TMPDIR", "SQLITE_TMPDIR"), task.folder)
    process, channel = start_program(MODULE, folders, subprocess.DEVNULL)
    frames = FrameChannel(channel)
    try:
        yield SceneProcess(frames, segmenter, task)
    finally:
        process.kill()
        frames.close()
        await asyncio.shield(asyncio.to_thread(process.wait))  # also if this is cancelled a second time
