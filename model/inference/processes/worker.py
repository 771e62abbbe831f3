"""The front's side of one worker process. For use on an event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Literal, get_args

from imaging.errors import DamagedImage
from imaging.formats.signatures import format_of
from model.inference.cores import resident_bytes
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.merging import Logits
from model.inference.processes import protocol
from model.inference.processes.blob import Blob, anonymous_file
from model.inference.processes.conversation import Conversation, FrameChannel
from model.inference.processes.forkserver import ForkedProcess
from model.inference.processes.protocol import Answer, ImageRequest, WorkerBroken, WorkerPlan
from model.inference.runtime import Submit, Tile

GROWN_BYTES = 64 << 20  # a worker whose resident memory has grown by more is replaced
LIBRARY_BYTES = 64 << 20  # by which it may grow besides, once it has imported the library that reads scenes
MOST_IMAGES = 2000  # a worker is replaced after this many images
PLAN_TIMEOUT_S = 10.0  # longest time to plan an image, wall clock
ENDED = "the worker process that had the image ended; try again"
log = logging.getLogger("segment")

Stage = Literal["plan", "decode", "answer"]
DeathReason = Literal["processor_time", "crash", "killed", "no_answer", "deadline", "cancelled", "grown", "replaced"]
DEATH_REASONS: tuple[DeathReason, ...] = get_args(DeathReason)
DEATHS: dict[int | None, DeathReason] = {-signal.SIGPROF: "processor_time", -signal.SIGKILL: "killed", None: "killed"}
"""Reasons by exit code; all others are crashes."""


class Worker(Conversation):
    """The front's side of a worker process. It handles one image at a time: `plan`, then `work` or `drop_image`.

    A worker that is still busy when its request ends must be killed. death: why the process ended; None while it runs.
    """

    def __init__(self, process: ForkedProcess, frames: FrameChannel) -> None:
        super().__init__(frames)
        self.process, self.images = process, 0
        self.stage: Stage = "plan"
        self.death: DeathReason | None = None
        self._image: ImageRequest | None = None
        self._plan: WorkerPlan | None = None
        self._log_fields: dict[str, Any] = {}
        self._first_bytes, self._library_bytes = resident_bytes(process.pid), 0

    def is_fit(self) -> bool:
        """Whether it can take another image. Kills it if it has ended, sent a frame by itself, grown, or had `MOST_IMAGES`."""
        if self.death:
            return False
        if fault := self._frames.fault():
            self._log_fields["fault"] = str(fault)
            self.kill("crash" if isinstance(fault, WorkerBroken) else "killed")
        grown_bytes = resident_bytes(self.process.pid) - self._first_bytes - self._library_bytes
        if self.images >= MOST_IMAGES or grown_bytes > GROWN_BYTES:
            self.kill("grown")
        return self.death is None

    async def plan(self, image: ImageRequest, runtime: bytes, ahead: int) -> WorkerPlan:
        """Sends the image to the worker and returns its plan.

        runtime: a pickled `Runtime`. ahead: how many tiles the worker may send before it waits for logits.
        Raises an `ImageError`, `AnswerTooLarge`, `WrongParameter`, `SideError`, `TilingError` or `WorkerFailed`.
        """
        if self.death:  # since it was claimed
            raise WorkerFailed(ENDED)
        self.stage, self._image, self._plan = "plan", image, None
        self.images += 1
        body, segmenter = image.body, protocol.distant_segmenter(runtime, image.limits)
        if segmenter.reads_scene(image.options.rendering):
            self._library_bytes = LIBRARY_BYTES
        self._log_fields = {**image.log_fields, "file": format_of(body.read(12)), "bytes": body.length, "sha256": ""}
        task = protocol.Task(runtime, image.limits, image.options, image.gzip, ahead)
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                self.begin(task, ahead, body)
                plan = self._plan = protocol.parse_plan((await self.receive("plan"))[0], image.options, segmenter)
        except OSError as error:
            raise await self._failure(error) from error
        self.expect(plan.tile_shapes, plan.tile_count)
        self._log_fields |= {"sha256": plan.sha256, "size": f"{plan.size[1]}x{plan.size[0]}"}
        return plan

    async def drop_image(self) -> None:
        """Drops the image after `plan`. Returns when the worker is idle or has ended."""
        self.drop(Cancelled("the image was dropped"))
        try:
            with suppress(Cancelled):
                await self.receive()
        except OSError as error:
            await self._failure(error)

    async def work(self, granted_bytes: int, submit: Submit) -> Answer:
        """Segments the planned image and returns the answer. `submit` runs each tile.

        granted_bytes: of memory that the worker may take besides the file's own bytes. Raises `DamagedImage` (also when
        decoding exceeds a limit), `WorkerFailed`, or an error of `submit`'s futures.
        """
        assert self._plan, "plan comes before work"
        self.stage, answer_file = "decode", Blob()
        answer: Answer | None = None

        def run(tile: Tile) -> Future[Logits]:
            self.stage = "answer"
            return submit(tile)

        try:
            answer_file.descriptor = self._answer_file()
            self.send(granted_bytes, answer_file)
            answer = protocol.parse_answer(*await self.run_tiles(run, "answer"), answer_file, self._plan)
            self.idle = True
            return answer
        except OSError as error:
            raise await self._failure(error) from error
        finally:
            if not (answer and answer.body is answer_file):
                answer_file.close()
            self.end_tiles()

    def _answer_file(self) -> int | None:
        """A file for a large answer. If there is none, a worker that needs it drops its image, and `work` raises why."""
        try:
            return anonymous_file()
        except OSError as error:
            self._error = WorkerFailed(f"there is no room for the answer: {error.strerror}; try again later")
            return None

    def unexpected(self, error: type[Exception] | None, message: str) -> Exception:
        if error is MemoryError and self.stage != "answer":
            return self._too_costly()
        log.error("a worker failed: %s", message, extra={"fields": self._fields()})
        return WorkerFailed("the image could not be processed; the log has the request's id")

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. `death` keeps the reason of the first call."""
        self.death = self.death or reason
        self.process.kill()  # the channel then reports its end

    async def reap(self) -> None:
        """Kills the process, waits until it has ended, and frees its socket."""
        await self.process.wait()
        self._frames.close()

    async def _failure(self, error: OSError) -> Exception:
        """The exception to raise after the worker ended, or broke the protocol, for which it is killed here."""
        self._log_fields["fault"] = str(error)
        if isinstance(error, WorkerBroken):
            self.kill("crash")
        elif isinstance(error, TimeoutError):
            # it took little processor time, or the system would have killed it: it is stopped, or gets no time
            self.kill("no_answer")
        code = await self.process.wait()
        self.death = self.death or DEATHS.get(code, "crash")
        if self._image and self._image.body.is_open:  # the worker may have ended before it sent the digest
            self._log_fields["sha256"] = await asyncio.to_thread(self._image.body.sha256)
        if self.stage == "answer" or self.death not in ("processor_time", "crash"):
            return WorkerFailed(ENDED)
        return self._too_costly()

    def _too_costly(self) -> DamagedImage:
        megabytes = (self._plan.bytes if self._plan else protocol.PLAN_BYTES) / 1e6
        seconds = self._plan.decode_seconds if self._plan else protocol.PLAN_SECONDS
        return DamagedImage(
            f"the image is damaged, or needs more than {megabytes:.0f} MB or {seconds:.0f} s of processor time to be decoded; "
            "save it again"
        )

    def log_death(self) -> None:
        """Logs that the worker ended, with facts about its image."""
        log.warning("a worker process ended", extra={"fields": self._fields() | {"reason": self.death}})

    def _fields(self) -> dict[str, Any]:
        """Log fields: facts about the worker's image, its stage and the process id."""
        return self._log_fields | {"stage": self.stage, "worker": self.process.pid}
