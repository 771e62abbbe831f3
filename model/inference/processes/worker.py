"""The parent's side of one worker process. For use on an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Literal, get_args

import numpy as np

from imaging.errors import DamagedImage
from imaging.formats.signatures import format_of
from model.inference.cores import process_memory
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.merging import Logits
from model.inference.processes.forkserver import ForkedProcess
from model.inference.processes.frames import FrameChannel, WorkerBroken, anonymous_file
from model.inference.processes.limits import ENFORCES_LIMITS
from model.inference.processes.messages import (
    Answer,
    Image,
    WorkerPlan,
    most_payload,
    parse_answer,
    parse_error,
    parse_head,
    parse_plan,
    parse_tile,
)  # fmt: skip
from model.inference.processes.worker_main import (
    DROPPED_TASK,
    NO_GRANT,
    PLAN_BYTES,
    PLAN_SECONDS,
    REPORTED_ERRORS,
    Drop,
    Grant,
    Start,
    Task,
    distant_segmenter,
)  # fmt: skip
from model.inference.runtime import Tile

GROWN_BYTES = 64 << 20  # a worker whose resident memory has grown by more is replaced
MEASURED_IMAGES = 8  # its memory is read after so many images, and after each that may take more than `GROWN_BYTES`
LIBRARY_BYTES = 64 << 20  # by which it may grow besides, once it has imported the library that reads scenes
MOST_IMAGES = 2000  # a worker is replaced after this many images
PLAN_TIMEOUT_S = 10.0  # longest time to plan an image, wall clock
ENDED = "the worker process that had the image ended; try again"
log = logging.getLogger("segment")

Submit = Callable[[Tile], Future[Logits]]
"""Runs a tile through the network, on another thread."""
Count = Callable[[Future[Logits]], None]
"""Called on the event loop for each submitted tile, once it is done or cancelled."""
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
        self._ahead = self._most_payload = 0
        self._has_begun = False
        self._drop_error: BaseException | None = None  # why the worker was told to drop its image
        self._fault = ""  # what was wrong with its last message
        self._first_bytes = self.resident_bytes
        self._library_bytes = 0

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
        if self.images >= MOST_IMAGES:
            return True
        is_measured = self.images % MEASURED_IMAGES == 0 or (self._plan is not None and self._plan.bytes > GROWN_BYTES)
        return is_measured and self.resident_bytes - self._first_bytes > GROWN_BYTES + self._library_bytes

    async def plan(self, image: Image, runtime: bytes, ahead: int, grant: Grant = NO_GRANT) -> WorkerPlan:
        """Sends the image to the worker and returns its plan.

        runtime: a pickled `DistantRuntime`. ahead: how many tiles the worker may send before it waits for logits. grant: if
        the plan is within it, the worker decodes and sends its first tiles at once. It gets logits only once `work` is called.
        Raises an `ImageError`, `AnswerTooLarge`, `UnknownClass`, `SideError`, `TilingError` or `WorkerFailed`.
        """
        self.idle, self.stage, self._plan, self._image, self._ahead = False, "plan", None, image, ahead
        self.images += 1
        if distant_segmenter(runtime, image.limits).reads_scene(image.options.rendering):
            self._library_bytes = LIBRARY_BYTES
        self._drop_error, self._most_payload = None, most_payload(image, runtime)
        body = image.body
        self._format, self._sha256 = format_of(body.read(12)), ""
        body_bytes = body.length if body.descriptor is not None else None
        task = Task(runtime, image.limits, image.options, image.gzip, ahead, grant, body_bytes)
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                self._frames.allow(*(1 + ahead + 1, self._most_payload) if grant.bytes else (1, 0))
                self._frames.send(pickle.dumps(task), body.data, [body.descriptor] if body.descriptor is not None else [])
                self._plan = parse_plan(*await self._receive(), image, runtime)
            self._sha256, self._has_begun = self._plan.sha256, grant.covers(self._plan.bytes, self._plan.megapixels)
        except TimeoutError as error:
            if not ENFORCES_LIMITS:
                self.kill("processor_time")
                raise self._too_costly() from error
            # it took little processor time, or the system would have killed it: it is stopped, or gets no time
            self.kill("no_answer")
            raise WorkerFailed(ENDED) from error
        except OSError as error:
            raise await self._failure(error) from error
        return self._plan

    async def drop(self) -> None:
        """Drops the image after `plan`. Returns when the worker is idle or has ended."""
        self._frames.allow_another()  # it says that it has dropped the image
        self._drop(Cancelled("the image was dropped"))
        try:
            while True:
                await self._receive()  # tiles that it has sent meanwhile
        except OSError as error:
            await self._failure(error)
        except Exception:
            assert self.idle  # it has reported that it dropped the image, or an error

    async def work(self, granted_bytes: int, submit: Submit, count: Count = lambda _: None) -> Answer:
        """Segments the planned image and returns the answer. `submit` runs each tile; `count` is called when it is done.

        granted_bytes: of memory that the worker may take besides the file's own bytes, if it has not begun. Raises
        `DamagedImage` (also when decoding exceeds a limit), `WorkerFailed`, or an error of `submit`'s futures.
        """
        assert self._plan, "plan comes before work"
        self.stage = "decode"
        tiles: deque[Future[Logits]] = deque()
        answer_file, most_tiles, loop = -1, self._plan.tile_count, asyncio.get_running_loop()

        def end(tile: Future[Logits]) -> None:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._end_tile, tile, tiles, count)

        try:
            if not self._has_begun:
                # tiles without logits, and the answer or an error
                self._frames.allow(self._ahead + 1, self._most_payload)
                self._frames.send(pickle.dumps(Start(granted_bytes)))
            while (kind := (frame := await self._receive())[0]["kind"]) in ("tile", "file"):
                self.stage = "answer"
                if kind == "file" and answer_file < 0 and not frame[1] and self._drop_error is None:
                    answer_file = self._send_file()
                    continue
                tile = submit(parse_tile(*frame, self._plan))
                tiles.append(tile)
                tile.add_done_callback(end)
                if (most_tiles := most_tiles - 1) < 0:
                    raise WorkerBroken(f"a worker sent more than {self._plan.tile_count} tiles")
            answer = parse_answer(*frame, answer_file, self._plan)
            if answer.body.descriptor is not None:
                answer_file = -1
            self._become_idle()
            return answer
        except OSError as error:
            raise await self._failure(error) from error
        finally:
            if answer_file >= 0:
                os.close(answer_file)
            while tiles:
                tiles.popleft().cancel()

    def _end_tile(self, tile: Future[Logits], tiles: deque[Future[Logits]], count: Count) -> None:
        """Counts a tile, and sends the logits of finished tiles, in order. When one fails, the worker drops the image."""
        count(tile)
        while tiles and tiles[0].done() and self._drop_error is None:
            tile = tiles.popleft()
            if tile.cancelled():
                self._drop(Cancelled("a tile was cancelled"))
            elif error := tile.exception():
                self._drop(error)
            else:
                logits = np.ascontiguousarray(tile.result())
                self._frames.allow_another()
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))

    def _send_file(self) -> int:
        """Sends the worker a file for its answer, and returns it. If there is none, the worker drops the image: -1."""
        self._frames.allow_another()
        try:
            descriptor = anonymous_file()
        except OSError as error:
            self._drop(WorkerFailed(f"there is no room for the answer: {error.strerror}; try again later"))
            return -1
        try:
            self._frames.send(pickle.dumps(None), descriptors=[descriptor])
        except OSError:  # the worker has not read what came before
            os.close(descriptor)
            raise
        return descriptor

    def _drop(self, error: BaseException) -> None:
        """Tells the worker to drop its image. Once it says that it has, `_receive` raises the error."""
        if self._drop_error is None:
            self._drop_error = error
            self._frames.send(pickle.dumps(Drop()))

    def _become_idle(self) -> None:
        """Lets the worker take another image. It may send nothing before."""
        self.idle = True
        self._frames.allow(0, 0)

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
            self._become_idle()
            raise self._reported_error(name, message)
        return document, payload

    def _reported_error(self, name: str, message: str) -> BaseException:
        """The exception to raise for an error that the worker reports."""
        if name == DROPPED_TASK and self._drop_error:
            return self._drop_error
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
        fields |= {"fault": self._fault} if self._fault else {}
        if self._plan:
            fields |= {"size": f"{self._plan.size[1]}x{self._plan.size[0]}"}
        log.warning("a worker process ended", extra={"fields": fields})

    def _about(self) -> dict[str, Any]:
        """Log fields: those of the worker's image, its stage and the process id."""
        return (dict(self._image.about) if self._image else {}) | {"stage": self.stage, "worker": self.process.pid}
