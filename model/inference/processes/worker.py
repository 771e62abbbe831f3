"""The parent's side of one worker process. For use on an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from imaging.errors import DamagedImage
from imaging.formats.headers import format_of
from model.inference.cores import process_memory
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.merging import Logits
from model.inference.processes.forkserver import ForkedProcess
from model.inference.processes.frames import INLINE_BYTES, FrameChannel, WorkerBroken, anonymous_file
from model.inference.processes.limits import ENFORCES_LIMITS
from model.inference.processes.messages import (
    Image,
    WorkerAnswer,
    WorkerPlan,
    parse_answer,
    parse_error,
    parse_head,
    parse_plan,
    parse_tile,
)  # fmt: skip
from model.inference.processes.worker_main import DROPPED_TASK, PLAN_BYTES, PLAN_SECONDS, REPORTED_ERRORS, Drop, Start, Task
from model.inference.runtime import Tile

GROWN_BYTES = 64 << 20  # a worker whose resident memory has grown by more is replaced
MOST_IMAGES = 2000  # a worker is replaced after this many images
PLAN_TIMEOUT_S = 10.0  # longest time to plan an image, wall clock
ENDED = "the worker process that had the image ended; try again"
log = logging.getLogger("segment")

Submit = Callable[[Tile], asyncio.Future[Logits]]
"""Runs a tile through the network."""
Stage = Literal["plan", "decode", "answer"]
DeathReason = Literal["processor_time", "crash", "killed", "no_answer", "deadline", "cancelled", "grown", "replaced"]
DEATH_REASONS: tuple[DeathReason, ...] = get_args(DeathReason)


class Worker:
    """A worker process. It handles one image at a time: `plan`, then `work` or `drop`.

    idle: whether it can take an image. A worker that is still busy when its request ends must be killed.
    death: why the process ended; None while it runs.
    """

    def __init__(self, process: ForkedProcess, frames: FrameChannel) -> None:
        self.process = process
        self.images = 0
        self.idle = True
        self.stage: Stage = "plan"
        self.death: DeathReason | None = None
        self._plan: WorkerPlan | None = None
        self._frames = frames
        self._image: Image | None = None
        self._format = self._sha256 = ""
        self._ahead = 0
        self._tile_error: BaseException | None = None
        self._fault = ""  # what was wrong with its last message
        self._first_bytes = self.resident_bytes

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 where the system does not report it."""
        try:
            return process_memory(self.process.pid)[1]
        except OSError:
            return 0

    @property
    def has_ended(self) -> bool:
        """Whether the process has closed its end of the socket, as when it was killed, or has sent an unasked frame."""
        return self._frames.end_reason is not None

    @property
    def is_worn(self) -> bool:
        """Whether it should be replaced, because its memory has grown or it has handled `MOST_IMAGES` images."""
        return self.images >= MOST_IMAGES or self.resident_bytes - self._first_bytes > GROWN_BYTES

    async def plan(self, image: Image, runtime: bytes, ahead: int) -> WorkerPlan:
        """Sends the image to the worker and returns its plan.

        runtime: a pickled `DistantRuntime`. ahead: how many tiles the worker may send before it waits for logits.
        Raises an `ImageError`, `AnswerTooLarge`, `UnknownClass`, `SideTooLarge`, `TilingError` or `WorkerFailed`.
        """
        self.idle, self.stage, self._plan, self._image, self._ahead = False, "plan", None, image, ahead
        self.images += 1
        body = image.body
        self._format, self._sha256 = format_of(body.read(12)), ""
        task = Task(
            runtime=runtime,
            limits=image.limits,
            options=image.options,
            gzip=image.gzip,
            ahead=ahead,
            body_bytes=body.length if body.descriptor else None,
        )
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                descriptors = [body.descriptor] if body.descriptor else []
                self._frames.allow(1, 0)
                self._frames.send_files(pickle.dumps(task), body.data, descriptors)
                head, _ = await self._receive()
            self._plan = parse_plan(head, image, runtime)
            self._sha256 = self._plan.sha256
        except TimeoutError as error:
            if not ENFORCES_LIMITS:
                self.kill("processor_time")
                raise self._too_costly() from error
            # the system would have killed it if the image had taken much processor time: it is stopped, or gets none
            self.kill("no_answer")
            raise WorkerFailed(ENDED) from error
        except OSError as error:
            raise await self._failure(error) from error
        return self._plan

    def drop(self) -> None:
        """Drops the image after `plan`. The worker is idle again."""
        self._frames.send(pickle.dumps(Drop()))
        self.idle = True

    async def work(self, granted_bytes: int, submit: Submit) -> WorkerAnswer:
        """Segments the planned image and returns the answer. `submit` runs each tile.

        granted_bytes: of memory that the worker may take besides the file's own bytes. Raises `DamagedImage` (also when
        decoding exceeds a limit), `WorkerFailed`, or an error of `submit`'s futures.
        """
        assert self._plan, "plan comes before work"
        self.stage, self._tile_error = "decode", None
        try:
            answer_file = anonymous_file()
        except OSError as error:
            self.drop()
            raise WorkerFailed(f"there is no room for the answer: {error.strerror}; try again later") from error
        tiles: deque[asyncio.Future[Logits]] = deque()
        most_tiles = self._plan.tile_count
        # tiles without logits, and the answer or an error
        self._frames.allow(
            self._ahead + 1, max(INLINE_BYTES, *(3 * height * width for height, width in self._plan.tile_shapes))
        )
        try:
            self._frames.send_files(pickle.dumps(Start(granted_bytes)), b"", [answer_file])
            while (frame := await self._receive())[0]["kind"] == "tile":
                self.stage = "answer"
                tile = submit(parse_tile(*frame, self._plan))
                tiles.append(tile)
                tile.add_done_callback(lambda _: self._return(tiles))
                if (most_tiles := most_tiles - 1) < 0:
                    raise WorkerBroken(f"a worker sent more than {self._plan.tile_count} tiles")
            answer = parse_answer(*frame, answer_file, self._plan)
            if answer.body.descriptor is not None:
                answer_file = -1
            self.idle = True
            return answer
        except OSError as error:
            raise await self._failure(error) from error
        finally:
            self._tile_error = None
            if answer_file >= 0:
                os.close(answer_file)
            while tiles:
                tiles.popleft().cancel()

    def _return(self, tiles: deque[asyncio.Future[Logits]]) -> None:
        """Sends the logits of finished tiles, in order. When a tile fails it sends `Drop` and then nothing more."""
        while tiles and tiles[0].done() and self._tile_error is None:
            tile = tiles.popleft()
            if tile.cancelled() or tile.exception():
                self._tile_error = Cancelled("a tile was cancelled") if tile.cancelled() else tile.exception()
                self._frames.send(pickle.dumps(Drop()))
            else:
                logits = np.ascontiguousarray(tile.result())
                self._frames.allow_another()
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. `death` keeps the reason of the first call."""
        self.death = self.death or reason
        self.process.kill()  # the channel then reports its end

    def note_end(self) -> None:
        """Sets `death` of an idle worker that `has_ended`."""
        self._fault = str(self._frames.end_reason)
        self.death = self.death or ("crash" if isinstance(self._frames.end_reason, WorkerBroken) else "killed")

    async def reap(self) -> None:
        """Kills the process, waits until it has ended, and frees its socket and handle."""
        self.process.kill()  # it may have closed its socket and still be running
        await self.process.wait()
        await self._frames.close()
        self.process.close()

    async def _receive(self) -> tuple[dict[str, Any], memoryview]:
        """The next frame. Raises the error that the worker reports, or `WorkerEnded`."""
        head, payload = await self._frames.receive()
        document = parse_head(head)
        if document["kind"] == "error":
            name, message = parse_error(document)
            self.idle = True
            raise self._reported_error(name, message)
        return document, payload

    def _reported_error(self, name: str, message: str) -> BaseException:
        """The exception to raise for an error that the worker reports."""
        if name == DROPPED_TASK and self._tile_error:
            return self._tile_error
        if name == "MemoryError" and self.stage != "answer":
            return self._too_costly()
        if name in REPORTED_ERRORS and name != "MemoryError":
            return REPORTED_ERRORS[name](message)
        log.error("a worker failed: %s", message, extra={"fields": self._about()})
        return WorkerFailed("the image could not be processed; the log has the request's id")

    async def _failure(self, error: OSError) -> Exception:
        """The exception to raise after the worker ended, or sent an invalid message, for which it is killed here."""
        if isinstance(error, WorkerBroken):
            self._fault = str(error)
            self.kill("crash")
        self.process.kill()  # it may have closed its socket and still be running; else this changes nothing
        code = await self.process.wait()
        if self.death is None:
            unknown = code in (None, -signal.SIGKILL)
            self.death = "processor_time" if code == -signal.SIGPROF else "killed" if unknown else "crash"
        if self._image and self._image.body.open:  # the worker may have ended before it sent the digest
            self._sha256 = await asyncio.to_thread(self._image.body.sha256)
        if self.stage == "answer" or self.death not in ("processor_time", "crash"):
            return WorkerFailed(ENDED)
        return self._too_costly()

    def _too_costly(self) -> DamagedImage:
        megabytes = (self._plan.bytes if self._plan else PLAN_BYTES) / 1e6
        seconds = self._plan.decode_seconds if self._plan else PLAN_SECONDS
        return DamagedImage(
            f"the image is damaged, or needs more than {megabytes:.0f} MB or {seconds:.0f} s of processor time to be decoded; "
            "save it again"
        )

    def log_death(self) -> None:
        """Logs that the worker ended, with facts about its image."""
        size = self._image.body.length if self._image else 0
        fields = self._about() | {"reason": self.death, "file": self._format, "bytes": size, "sha256": self._sha256}
        if self._fault:
            fields |= {"fault": self._fault}
        if self._plan:
            fields |= {"size": f"{self._plan.size[1]}x{self._plan.size[0]}"}
        log.warning("a worker process ended", extra={"fields": fields})

    def _about(self) -> dict[str, Any]:
        """Log fields: those of the worker's image, its stage and the process id."""
        fields = {"stage": self.stage, "worker": self.process.pid}
        return (dict(self._image.about) if self._image else {}) | fields
