"""The parent's side of one worker process, and the messages that the two exchange. For use on an event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import numpy as np

from imaging.decoding import Limits
from imaging.errors import DamagedImage
from imaging.formats.headers import format_of
from model.inference.cores import process_memory
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.merging import Logits
from model.inference.processes.frames import INLINE_BYTES, FrameChannel, WorkerBroken, anonymous_file, read_file, write_file
from model.inference.processes.worker_main import DROPPED, PLAN_BYTES, PLAN_SECONDS, REPORTED, Drop, Start, Task
from model.inference.runtime import Tile
from model.inference.segmenter import Options
from model.inference.tiling import Size, check_tile

GROWN_BYTES = 64 << 20  # a worker whose resident memory has grown by more is replaced
MOST_IMAGES = 2000  # a worker is replaced after this many images
EXIT_S = 5.0  # longest wait for a killed process to exit
PLAN_TIMEOUT_S = 10.0  # longest time to plan an image, wall clock
# `multiprocessing` keeps a set of all processes and polls every one of them, without a lock; so calls of it hold this one
PROCESSES = threading.Lock()
log = logging.getLogger("segment")

Submit = Callable[[Tile], asyncio.Future[Logits]]
"""Runs a tile through the network."""
Stage = Literal["plan", "decode", "answer"]
DeathReason = Literal["processor_time", "crash", "killed", "deadline", "cancelled", "grown"]
DEATH_REASONS: tuple[DeathReason, ...] = ("processor_time", "crash", "killed", "deadline", "cancelled", "grown")


@dataclass(eq=False)
class Body:
    """Bytes of an image file or of an answer.

    Up to `INLINE_BYTES` are in memory; larger files are in an anonymous file. `close` frees both.
    """

    data: bytes = b""
    descriptor: int | None = None
    length: int = 0

    @classmethod
    def of(cls, data: bytes) -> Body:
        if len(data) <= INLINE_BYTES:
            return cls(data, None, len(data))
        descriptor = anonymous_file()
        try:
            write_file(descriptor, data)
        except OSError:
            os.close(descriptor)
            raise
        return cls(b"", descriptor, len(data))

    @property
    def open(self) -> bool:
        return self.descriptor is not None or bool(self.data)

    def close(self) -> None:
        self.data, descriptor, self.descriptor = b"", self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def sha256(self) -> str:
        return hashlib.sha256(self.read(self.length)).hexdigest()

    def read(self, count: int, start: int = 0) -> bytes:
        """Up to `count` bytes from the offset `start`."""
        if self.descriptor is None:
            return self.data[start : start + count]
        return read_file(self.descriptor, min(count, self.length - start), start)


@dataclass(frozen=True)
class Image:
    """An image to segment. gzip: whether to compress a JSON answer. about: the request's fields for log lines."""

    body: Body
    options: Options
    limits: Limits
    gzip: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """A worker's plan for an image.

    size: (height, width) of the upright image. tiles: of all views. bytes: of memory that the work needs besides the file's
    own bytes. decode_seconds: the limit on processor time for decoding. sha256: of the file.
    """

    size: Size
    tiles: int
    bytes: int
    decode_seconds: float
    sha256: str

    @property
    def megapixels(self) -> float:
        return self.size[0] * self.size[1] / 1e6


@dataclass(frozen=True)
class WorkerAnswer:
    """An answer's bytes, their content encoding (`gzip` or empty), and the seconds of `decode`, `inference` and `encode`."""

    body: Body
    encoding: str
    seconds: dict[str, float]


class Worker:
    """A worker process. It handles one image at a time: `plan`, then `work` or `drop`.

    idle: whether it can take an image. A worker that is not idle when nobody waits for its answer any more must be killed.
    death: why the process ended; None while it runs.
    """

    def __init__(self, process: BaseProcess, frames: FrameChannel) -> None:
        self.process = process
        self.images = 0
        self.idle = True
        self.stage: Stage = "plan"
        self.death: DeathReason | None = None
        self.planned: Planned | None = None
        self._frames = frames
        self._image: Image | None = None
        self._format = self._sha256 = ""
        self._tile_error: BaseException | None = None
        self._first_bytes = self.resident_bytes

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 where the system does not report it."""
        try:
            return process_memory(self.process.pid or 0)[1]
        except OSError:
            return 0

    @property
    def ended(self) -> bool:
        """Whether the process has closed its end of the socket, for instance because it was killed."""
        return self._frames.ended

    @property
    def worn(self) -> bool:
        """Whether it should be replaced, because its memory has grown or it has handled `MOST_IMAGES` images."""
        return self.images >= MOST_IMAGES or self.resident_bytes - self._first_bytes > GROWN_BYTES

    async def plan(self, image: Image, runtime: bytes, ahead: int) -> Planned:
        """Sends the image to the worker and returns its plan.

        runtime: a pickled `DistantRuntime`. ahead: how many tiles the worker may send before it waits for logits.
        Raises an `ImageError`, `AnswerTooLarge`, `UnknownClass`, `SideTooLarge`, `TilingError` or `WorkerFailed`.
        """
        self.idle, self.stage, self.planned, self._image = False, "plan", None, image
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
                self._frames.send_files(pickle.dumps(task), body.data, descriptors)
                head, _ = await self._receive()
            self.planned = _planned(head)
            self._sha256 = self.planned.sha256
        except TimeoutError as error:
            self.kill("processor_time")
            raise self._too_costly() from error
        except OSError as error:
            raise await self._failure(error) from error
        return self.planned

    def drop(self) -> None:
        """Drops the image after `plan`. The worker is idle again."""
        self._frames.send(pickle.dumps(Drop()))
        self.idle = True

    async def work(self, granted_bytes: int, submit: Submit) -> WorkerAnswer:
        """Segments the planned image and returns the answer. `submit` runs each tile.

        granted_bytes: of memory that the worker may take besides the file's own bytes. Raises `DamagedImage` (also when
        decoding exceeds a limit), `WorkerFailed`, or an error of `submit`'s futures.
        """
        self.stage, self._tile_error = "decode", None
        answer_file = anonymous_file()
        tiles: deque[asyncio.Future[Logits]] = deque()
        try:
            self._frames.send_files(pickle.dumps(Start(granted_bytes)), b"", [answer_file])
            while (frame := await self._receive())[0]["kind"] == "tile":
                self.stage = "answer"
                tile = submit(_tile(*frame))
                tiles.append(tile)
                tile.add_done_callback(lambda _: self._return(tiles))
            answer = _answer(*frame, answer_file)
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
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. `death` keeps the reason of the first call."""
        self.death = self.death or reason
        with suppress(OSError, ValueError):
            self.process.kill()  # the channel then reports its end

    async def reap(self) -> None:
        """Waits until the process has ended, and frees its socket and process object."""
        with suppress(OSError, ValueError):
            self.process.kill()  # it may have closed its socket and still be running
        await asyncio.to_thread(_exit_code, self.process)
        await self._frames.close()
        with PROCESSES, suppress(ValueError):  # raised when it still runs after `EXIT_S`
            self.process.close()

    async def _receive(self) -> tuple[dict[str, Any], memoryview]:
        """The next frame. Raises the error that the worker reports, or `WorkerEnded`."""
        try:
            head, payload = await self._frames.receive()
            document: dict[str, Any] = json.loads(head)
            kind = document["kind"]
            if kind == "error":
                name, message = document["type"], str(document["message"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkerBroken(f"a worker sent a message that cannot be read: {error}") from error
        if kind == "error":
            self.idle = True
            raise self._reported(name, message)
        return document, payload

    def _reported(self, name: str, message: str) -> BaseException:
        """The exception to raise for an error that the worker reports."""
        if name == DROPPED and self._tile_error:
            return self._tile_error
        if name == "MemoryError" and self.stage != "answer":
            return self._too_costly()
        if name in REPORTED and name != "MemoryError":
            return REPORTED[name](message)
        log.error("a worker failed: %s", message, extra={"fields": self._about()})
        return WorkerFailed("the image could not be processed; the log has the request's id")

    async def _failure(self, error: OSError) -> Exception:
        """The exception to raise after the worker ended, or sent an invalid message, for which it is killed here."""
        if isinstance(error, WorkerBroken):
            self.kill("crash")
        code = await asyncio.to_thread(_exit_code, self.process)
        if self.death is None:
            unknown = code in (None, -signal.SIGKILL)
            self.death = "processor_time" if code == -signal.SIGXCPU else "killed" if unknown else "crash"
        if self._image and self._image.body.open:  # the worker may have ended before it sent the digest
            self._sha256 = await asyncio.to_thread(self._image.body.sha256)
        if self.stage == "answer" or self.death not in ("processor_time", "crash"):
            return WorkerFailed("the worker process that had the image ended; try again")
        return self._too_costly()

    def _too_costly(self) -> DamagedImage:
        megabytes = (self.planned.bytes if self.planned else PLAN_BYTES) / 1e6
        seconds = self.planned.decode_seconds if self.planned else PLAN_SECONDS
        return DamagedImage(
            f"the image is damaged, or needs more than {megabytes:.0f} MB or {seconds:.0f} s of processor time to be decoded; "
            "save it again"
        )

    def log_death(self) -> None:
        """Logs that the worker ended, with facts about its image."""
        size = self._image.body.length if self._image else 0
        fields = self._about() | {"reason": self.death, "file": self._format, "bytes": size, "sha256": self._sha256}
        if self.planned:
            fields |= {"size": f"{self.planned.size[1]}x{self.planned.size[0]}"}
        log.warning("a worker process ended", extra={"fields": fields})

    def _about(self) -> dict[str, Any]:
        """Log fields: those of the worker's image, its stage and the process id."""
        fields = {"stage": self.stage, "worker": self.process.pid}
        return (dict(self._image.about) if self._image else {}) | fields


def _exit_code(process: BaseProcess) -> int | None:
    """Waits up to `EXIT_S` for the process to end; blocks. None where it has not ended, or its code is not known."""
    try:
        wait([process.sentinel], EXIT_S)
        with PROCESSES:
            return process.exitcode
    except ValueError:  # the process object was closed meanwhile
        return None


def _planned(head: Mapping[str, Any]) -> Planned:
    """Parses a worker's plan; raises `WorkerBroken` for an invalid one."""
    try:
        height, width = (int(side) for side in head["size"])
        return Planned(
            size=(height, width),
            tiles=int(head["tiles"]),
            bytes=int(head["bytes"]),
            decode_seconds=float(head["decode_seconds"]),
            sha256=str(head["sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerBroken(f"a worker sent an invalid plan: {error}") from error


def _tile(head: Mapping[str, Any], payload: memoryview) -> Tile:
    """Parses a worker's tile; raises `WorkerBroken` for an invalid one."""
    try:
        tile = np.frombuffer(payload, np.uint8).reshape(head["shape"])
        height, width, channels = tile.shape
        check_tile((height, width))
        if channels != 3:
            raise ValueError(f"a tile has 3 channels, got {channels}")
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerBroken(f"a worker sent an invalid tile: {error}") from error
    return tile


def _answer(head: Mapping[str, Any], payload: memoryview, answer_file: int) -> WorkerAnswer:
    """Parses a worker's answer, whose bytes are in the frame or in the file; raises `WorkerBroken` for an invalid one."""
    try:
        length = os.fstat(answer_file).st_size
        body = Body(bytes(payload), None, len(payload)) if payload else Body(b"", answer_file, length)
        seconds = {stage: float(head["seconds"][stage]) for stage in ("decode", "inference", "encode")}
        return WorkerAnswer(body, "gzip" if head["encoding"] else "", seconds)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerBroken(f"a worker sent an invalid answer: {error}") from error
