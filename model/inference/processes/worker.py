"""The front's side of one worker process. For use on an event loop."""

from __future__ import annotations

import asyncio
import logging
import pickle
import signal
from collections.abc import Mapping
from typing import Any, Literal, get_args

from imaging.errors import DamagedImage
from imaging.formats.signatures import format_of
from model.inference.cores import resident_bytes
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.processes import protocol
from model.inference.processes.blob import Blob, anonymous_file
from model.inference.processes.forkserver import ForkedProcess
from model.inference.processes.frames import UNASKED, FrameChannel, Submit, TileRelay, WorkerBroken
from model.inference.processes.protocol import REPORTED_ERRORS, Answer, Grant, ImageRequest, TaskDropped, WorkerPlan

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


class Worker:
    """The front's side of a worker process. It handles one image at a time: `plan`, then `work` or `drop`.

    idle: whether it can take an image. A worker that is still busy when its request ends must be killed.
    death: why the process ended; None while it runs.
    """

    def __init__(self, process: ForkedProcess, frames: FrameChannel) -> None:
        self.process, self._frames = process, frames
        self.idle, self.images = True, 0
        self.stage: Stage = "plan"
        self.death: DeathReason | None = None
        self._image: ImageRequest | None = None
        self._plan: WorkerPlan | None = None
        self._ahead = self._most_payload = 0
        self._is_granted = False  # the plan is within the grant, so the worker has gone on
        self._drop_error: BaseException | None = None  # why the worker was told to drop its image
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

    async def plan(self, image: ImageRequest, runtime: bytes, ahead: int, grant: Grant = protocol.NO_GRANT) -> WorkerPlan:
        """Sends the image to the worker and returns its plan.

        runtime: a pickled `Runtime`. ahead: how many tiles the worker may send before it waits for logits. grant: if
        the plan is within it, the worker decodes and sends its first tiles at once. The worker gets logits only in `work`.
        Raises an `ImageError`, `AnswerTooLarge`, `UnknownClass`, `SideError`, `TilingError` or `WorkerFailed`.
        """
        if self.death:  # since it was claimed
            raise WorkerFailed(ENDED)
        self.idle, self.stage, self._image, self._plan, self._drop_error = False, "plan", image, None, None
        self.images += 1
        body, segmenter = image.body, protocol.distant_segmenter(runtime, image.limits)
        if segmenter.reads_scene(image.options.rendering):
            self._library_bytes = LIBRARY_BYTES
        self._ahead, self._most_payload = ahead, protocol.most_payload(segmenter, image.options)
        self._log_fields = {**image.log_fields, "file": format_of(body.read(12)), "bytes": body.length, "sha256": ""}
        descriptors = [] if body.descriptor is None else [body.descriptor]
        task = protocol.Task(runtime, image.limits, image.options, image.gzip, ahead, grant)
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                self._frames.send(pickle.dumps(task), body.data, descriptors)
                plan = self._plan = protocol.parse_plan((await self._receive("plan"))[0], image.options, segmenter)
        except OSError as error:
            raise await self._failure(error) from error
        self._is_granted = grant.covers(plan.bytes, plan.megapixels)
        self._log_fields |= {"sha256": plan.sha256, "size": f"{plan.size[1]}x{plan.size[0]}"}
        return plan

    async def drop(self) -> None:
        """Drops the image after `plan`. Returns when the worker is idle or has ended."""
        self._drop(Cancelled("the image was dropped"))
        try:
            for _ in range(self._ahead + 1):  # tiles that it has sent meanwhile
                head, _ = await self._frames.receive(self._most_payload)
                if (document := protocol.parse_head(head, ["tile"]))["kind"] == "error":  # it has dropped or failed the image
                    self._end_image(document)
                    return
            raise WorkerBroken(UNASKED)
        except OSError as error:
            await self._failure(error)

    async def work(self, granted_bytes: int, submit: Submit) -> Answer:
        """Segments the planned image and returns the answer. `submit` runs each tile.

        granted_bytes: of memory that the worker may take besides the file's own bytes, if it has not begun. Raises
        `DamagedImage` (also when decoding exceeds a limit), `WorkerFailed`, or an error of `submit`'s futures.
        """
        assert self._plan, "plan comes before work"
        plan, self.stage = self._plan, "decode"
        answer: Answer | None = None
        answer_file: Blob | None = None
        count, relay = 0, TileRelay(self._frames, submit, self._ahead, self._drop)
        try:
            if not self._is_granted:
                if fault := self._frames.fault():
                    raise fault
                self._frames.send(pickle.dumps(Grant(granted_bytes)))
            while (kind := (frame := await self._receive("tile", "file", "answer"))[0]["kind"]) != "answer":
                self.stage = "answer"
                if kind == "file" and answer_file is None and not frame[1]:
                    answer_file = Blob()
                    self._send_file(answer_file)
                    continue
                tile = protocol.parse_tile(*frame, plan.tile_shapes, plan.channels)
                count += 1
                if count > plan.tile_count:
                    raise WorkerBroken(f"{UNASKED}: tile {count} of {plan.tile_count}")
                relay.add(tile)
            answer = protocol.parse_answer(*frame, answer_file or Blob(), plan)
            self.idle = True
            return answer
        except OSError as error:
            raise await self._failure(error) from error
        finally:
            if answer_file and not (answer and answer.body is answer_file):
                answer_file.close()
            relay.close()

    def _send_file(self, answer_file: Blob) -> None:
        """Opens the file, and sends it to the worker. If there is none, the worker drops the image. Raises `OSError`."""
        try:
            answer_file.descriptor = anonymous_file()
        except OSError as error:
            self._drop(WorkerFailed(f"there is no room for the answer: {error.strerror}; try again later"))
        else:
            self._frames.send(pickle.dumps(None), descriptors=[answer_file.descriptor])

    def _drop(self, error: BaseException) -> None:
        """Tells the worker to drop its image. Once it says that it has, `_receive` raises the error."""
        self._drop_error = error
        self._frames.send(pickle.dumps(protocol.Drop()))

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. `death` keeps the reason of the first call."""
        self.death = self.death or reason
        self.process.kill()  # the channel then reports its end

    async def reap(self) -> None:
        """Kills the process, waits until it has ended, and frees its socket."""
        await self.process.wait()
        self._frames.close()

    async def _receive(self, *kinds: str) -> tuple[dict[str, Any], memoryview]:
        """The next frame, which must be of one of these kinds. Raises the error that the worker reports, or `OSError`."""
        head, payload = await self._frames.receive(self._most_payload if self._plan else 0)
        document = protocol.parse_head(head, kinds)
        if document["kind"] == "error":
            raise self._end_image(document)
        return document, payload

    def _end_image(self, document: Mapping[str, Any]) -> BaseException:
        """The worker reports an error, and is idle. Returns the exception to raise."""
        name, message = protocol.parse_error(document)
        self.idle = True
        error = REPORTED_ERRORS.get(name)
        if error is TaskDropped and self._drop_error:
            return self._drop_error
        if error is MemoryError and self.stage != "answer":
            return self._too_costly()
        if error in (None, TaskDropped, MemoryError):
            log.error("a worker failed: %s", message, extra={"fields": self._fields()})
            return WorkerFailed("the image could not be processed; the log has the request's id")
        return error(message)

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
