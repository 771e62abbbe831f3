"""The front's side of a process that reads a scene and writes its result. For use on an event loop.

The process is confined to the job's folder, and its memory is limited. It has no place among the workers. A conversation; each
line is a frame, `<-` to the process, `->` from it:

    <- SceneTask (pickled)               -> {"kind": "plan", ...}, or an error
                                         -> a {"kind": "tile"} for each tile, up to `ahead` before logits
    <- logits of each tile, in order     -> {"kind": "rows", ...}, once rows are in the working file
                                         -> {"kind": "done"}, once the result is written, or an error
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NoReturn, get_args

import numpy as np

from model.inference.merging import Logits
from model.inference.processes.forkserver import PROGRAM, worker_environment
from model.inference.processes.frames import FrameChannel, WorkerBroken
from model.inference.processes.protocol import parse_error, parse_head
from model.inference.runtime import Tile
from model.inference.scenes.request import SceneRequest
from model.inference.segmenter import Segmenter
from model.inference.tiling import UNIT, Size

MODULE = "model.inference.jobs.scene_program"
STALL_S = 3600.0  # longest time between two frames of a process that works, wall clock
PLAN_TIMEOUT_S = 60.0  # longest time to start the process and to plan a scene, wall clock
Submit = Callable[[Tile], Future[Logits]]
OnRows = Callable[[int, int], None]


RefusalKind = Literal["type", "damaged", "parameter", "memory", "disk"]
REFUSALS: tuple[RefusalKind, ...] = get_args(RefusalKind)


class SceneRefused(Exception):
    """The scene cannot be segmented, or needs more than a job may take. The text says why, and what to do.

    kind: whether its format is not read, it is damaged, a parameter does not suit it, or there is no memory or disk for it.
    """

    def __init__(self, message: str, kind: RefusalKind) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class SceneTask:
    """A scene of a job. runtime: a pickled `DistantRuntime`. folder: of the job, with the scene, and for all that is written.

    ahead: how many tiles may be sent before logits must be received. only_plan: whether the process ends after its plan.
    """

    runtime: bytes
    request: SceneRequest
    folder: str
    ahead: int
    only_plan: bool = False


class SceneProcess:
    """A process that works on a scene. It ends with its `scene_process`."""

    def __init__(self, frames: FrameChannel, segmenter: Segmenter, tile: Size | None, ahead: int) -> None:
        self._frames, self._ahead = frames, ahead
        self._largest, self._channels = segmenter.tile(tile), segmenter.channels
        self._tiles: deque[Future[Logits]] = deque()
        self._error: BaseException | None = None

    async def plan(self) -> Size:
        """The (height, width) of the scene. Raises `SceneRefused`, or `OSError` if the process ended."""
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                document, _ = await self._receive("plan")
        except TimeoutError as error:
            raise SceneRefused(
                f"the scene was not opened within {PLAN_TIMEOUT_S:g} s; write it again, in tiles", "damaged"
            ) from error
        height, width = document["size"]
        if not (type(height) is type(width) is int and height > 0 and width > 0):
            raise WorkerBroken(f"a process planned a scene of {str(document['size'])[:100]} pixels")
        return height, width

    async def run(self, submit: Submit, on_rows: OnRows) -> None:
        """Runs the tiles of the planned scene until its result is written. on_rows: gets the rows that are done, and all rows.

        Raises `SceneRefused`, an error of `submit`'s futures, or `OSError` if the process ended or is stuck.
        """
        loop = asyncio.get_running_loop()

        def end(_: Future[Logits]) -> None:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._send_logits)

        try:
            while True:
                async with asyncio.timeout(STALL_S):
                    document, payload = await self._receive("tile", "rows", "done")
                if document["kind"] == "done":
                    return
                if document["kind"] == "rows":
                    on_rows(int(document["row"]), int(document["rows"]))
                    continue
                if len(self._tiles) >= self._ahead:
                    raise WorkerBroken(f"a process sent a tile while {len(self._tiles)} wait")
                self._tiles.append(submit(self._parse_tile(document, payload)))
                self._tiles[-1].add_done_callback(end)
        finally:
            while self._tiles:
                self._tiles.popleft().cancel()

    def _parse_tile(self, document: dict[str, Any], payload: memoryview) -> Tile:
        """A tile of the process, which a damaged scene may control. Raises `WorkerBroken`."""
        shape = tuple(document["shape"])
        is_size = len(shape) == 3 and all(type(side) is int and side > 0 for side in shape) and shape[2] == self._channels
        if (
            not is_size
            or prod(shape) != len(payload)
            or any(side % UNIT or side > most for side, most in zip(shape, self._largest, strict=False))
        ):
            raise WorkerBroken(f"a process sent a tile of {str(shape)[:100]} and {len(payload)} bytes")
        return np.frombuffer(payload, np.uint8).reshape(shape)

    def _send_logits(self) -> None:
        """Sends the logits of finished tiles, in order. After the first error it closes the channel, and `run` raises it."""
        while self._tiles and self._tiles[0].done() and self._error is None:
            tile = self._tiles.popleft()
            if tile.cancelled():
                return
            if error := tile.exception():
                self._error = error
                self._frames.close()
                return
            logits = np.ascontiguousarray(tile.result())
            self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))

    async def _receive(self, *kinds: str) -> tuple[dict[str, Any], memoryview]:
        try:
            head, payload = await self._frames.receive(prod(self._largest) * self._channels)
        except OSError:
            if self._error:
                raise self._error from None
            raise
        document = parse_head(head, kinds)
        if document["kind"] == "error":
            _refuse(*parse_error(document))
        return document, payload


def _refuse(name: str, message: str) -> NoReturn:
    """Raises the error that the process reports."""
    if name == "unexpected":
        raise RuntimeError(message)
    for kind in REFUSALS:
        if kind == name:
            raise SceneRefused(message, kind)
    raise WorkerBroken(f"a process reported {name}")


@asynccontextmanager
async def scene_process(task: SceneTask, segmenter: Segmenter) -> AsyncIterator[SceneProcess]:
    """Starts a process for this task, which ends with the block, and with the thread of this event loop (Linux)."""
    channel, other = socket.socketpair()
    frames = FrameChannel(channel)
    path = [os.path.abspath(folder) for folder in sys.path]
    program = PROGRAM.format(path=path, module=MODULE, descriptor=other.fileno(), parent=os.getpid())
    folders = dict.fromkeys(("TMPDIR", "CPL_TMPDIR", "SQLITE_TMPDIR"), task.folder)
    try:
        with other:
            process = subprocess.Popen(
                [sys.executable, "-c", program], env=worker_environment(os.environ) | folders, pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
    except BaseException:
        frames.close()
        raise
    try:
        frames.send(pickle.dumps(task))
        yield SceneProcess(frames, segmenter, task.request.tile, task.ahead)
    finally:
        process.kill()
        frames.close()
        await asyncio.shield(asyncio.to_thread(process.wait))  # also if this is cancelled a second time
