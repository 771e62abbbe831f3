"""A worker process as the process that started it sees it, and what is handed to it and comes back. For an event loop."""

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
from imaging.headers import format_of
from model.inference.cores import process_memory
from model.inference.errors import Cancelled, WorkerFailed
from model.inference.frames import INLINE_BYTES, FrameChannel, WorkerBroken, anonymous_file, read_file, write_file
from model.inference.merging import Logits
from model.inference.runtime import Tile
from model.inference.segmenter import Options
from model.inference.tiling import Size, check_tile
from model.inference.worker_main import DROPPED, PLAN_BYTES, PLAN_SECONDS, REPORTED, Drop, Start, Task

GROWN_BYTES = 64 << 20  # by which a worker may have grown
MOST_IMAGES = 2000  # that a worker works on
EXIT_S = 5.0  # within which a killed process has ended
PLAN_TIMEOUT_S = 10.0  # for an image to be planned, by the clock
PROCESSES = threading.Lock()  # `multiprocessing` keeps its processes in a set, and asks after all of them, without a lock
log = logging.getLogger("segment")

Submit = Callable[[Tile], asyncio.Future[Logits]]
"""Runs a tile through the network."""
Stage = Literal["plan", "decode", "answer"]
DeathReason = Literal["processor_time", "crash", "killed", "deadline", "cancelled", "grown"]
DEATH_REASONS: tuple[DeathReason, ...] = ("processor_time", "crash", "killed", "deadline", "cancelled", "grown")


@dataclass(eq=False)
class Body:
    """An image file's bytes: in memory, or in a file without a name where they are many. `close` frees either."""

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
        """Up to so many bytes from `start` on."""
        if self.descriptor is None:
            return self.data[start : start + count]
        return read_file(self.descriptor, min(count, self.length - start), start)


@dataclass(frozen=True)
class Image:
    """An image to be worked on. gzip: whether a JSON answer comes compressed. about: what log lines say of the request."""

    body: Body
    options: Options
    limits: Limits
    gzip: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """What a worker says of an image. size: upright (height, width). bytes: of memory that its work takes beside its file.

    decode_seconds: of processor time, the most that decoding may take. sha256: of the file.
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
    """An answer's bytes, whether they are compressed, and the seconds of the stages `decode`, `inference` and `encode`."""

    body: Body
    encoding: str
    seconds: dict[str, float]


class Worker:
    """A worker process, which works on one image at a time: `plan`, then `work` or `drop`.

    `idle` tells whether it may be given an image; a worker that is not must be killed. `death` tells why it ended.
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
        """Of memory; 0 where the system does not say."""
        try:
            return process_memory(self.process.pid or 0)[1]
        except OSError:
            return 0

    @property
    def ended(self) -> bool:
        """Whether the process has closed its end, as when it was killed."""
        return self._frames.ended

    @property
    def worn(self) -> bool:
        """Whether it has grown, or worked on many images, and is to be replaced."""
        return self.images >= MOST_IMAGES or self.resident_bytes - self._first_bytes > GROWN_BYTES

    async def plan(self, image: Image, runtime: bytes, ahead: int) -> Planned:
        """Hands over the image's bytes. runtime: a pickled `DistantRuntime`; ahead: of tiles, before their logits have come.

        Raises an `ImageError`, `AnswerTooLarge`, `UnknownClass`, `SideTooLarge`, `TilingError` or `WorkerFailed`.
        """
        self.idle, self.stage, self.planned, self._image = False, "plan", None, image
        self.images += 1
        body = image.body
        self._format, self._sha256 = format_of(body.read(12)), ""
        task = Task(runtime, image.limits, image.options, image.gzip, ahead, body.length if body.descriptor else None)
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
        """Ends the image's work after `plan`."""
        self._frames.send(pickle.dumps(Drop()))
        self.idle = True

    async def work(self, granted_bytes: int, submit: Submit) -> WorkerAnswer:
        """The answer, made with so many bytes beside the file's own; its tiles go through `submit`.

        Raises `DamagedImage`, also where a limit ended decoding, `WorkerFailed`, or what `submit`'s futures raise.
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
        """Sends the logits of the tiles that are done, in order; after one that failed, which ends the work, nothing more."""
        while tiles and tiles[0].done() and self._tile_error is None:
            tile = tiles.popleft()
            if tile.cancelled() or tile.exception():
                self._tile_error = Cancelled("a tile was cancelled") if tile.cancelled() else tile.exception()
                self._frames.send(pickle.dumps(Drop()))
            else:
                logits = np.ascontiguousarray(tile.result())
                self._frames.send(pickle.dumps(logits.shape), logits.data.cast("B"))

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. The first reason stays."""
        self.death = self.death or reason
        with suppress(OSError, ValueError):
            self.process.kill()  # what comes next over the channel is its end

    async def reap(self) -> None:
        """Waits for the process's end, and frees what it had here."""
        with suppress(OSError, ValueError):
            self.process.kill()  # it may have closed its end without coming to its own
        await asyncio.to_thread(_exit_code, self.process)
        await self._frames.close()
        with PROCESSES, suppress(ValueError):  # it runs still
            self.process.close()

    async def _receive(self) -> tuple[dict[str, Any], memoryview]:
        """The next frame. Raises what the worker reports, and `WorkerEnded`."""
        try:
            head, payload = await self._frames.receive()
            document: dict[str, Any] = json.loads(head)
            kind = document["kind"]
            if kind == "error":
                name, message = document["type"], str(document["message"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkerBroken(f"a worker sent what cannot be read: {error}") from error
        if kind == "error":
            self.idle = True
            raise self._reported(name, message)
        return document, payload

    def _reported(self, name: str, message: str) -> BaseException:
        if name == DROPPED and self._tile_error:
            return self._tile_error
        if name == "MemoryError" and self.stage != "answer":
            return self._too_costly()
        if name in REPORTED and name != "MemoryError":
            return REPORTED[name](message)
        log.error("a worker failed: %s", message, extra={"fields": self._about()})
        return WorkerFailed("the image could not be worked on; the log has the request's id")

    async def _failure(self, error: OSError) -> Exception:
        """What to raise once the worker has ended by itself, or is ended for what it sent."""
        if isinstance(error, WorkerBroken):
            self.kill("crash")
        code = await asyncio.to_thread(_exit_code, self.process)
        if self.death is None:
            unknown = code in (None, -signal.SIGKILL)
            self.death = "processor_time" if code == -signal.SIGXCPU else "killed" if unknown else "crash"
        if self._image and self._image.body.open:  # the worker did not come to tell it
            self._sha256 = await asyncio.to_thread(self._image.body.sha256)
        if self.stage == "answer" or self.death not in ("processor_time", "crash"):
            return WorkerFailed("the worker process that had the image ended; try again")
        return self._too_costly()

    def _too_costly(self) -> DamagedImage:
        megabytes = (self.planned.bytes if self.planned else PLAN_BYTES) / 1e6
        seconds = self.planned.decode_seconds if self.planned else PLAN_SECONDS
        return DamagedImage(
            f"the image is damaged, or needs more than {megabytes:.0f} MB or {seconds:.0f} s of processor time to be decoded; "
            "save it anew"
        )

    def log_death(self) -> None:
        """Writes a line about the image that the worker had."""
        size = self._image.body.length if self._image else 0
        facts = self._about() | {"reason": self.death, "file": self._format, "bytes": size, "sha256": self._sha256}
        if self.planned:
            facts |= {"size": f"{self.planned.size[1]}x{self.planned.size[0]}"}
        log.warning("a worker process ended", extra={"fields": facts})

    def _about(self) -> dict[str, Any]:
        """What log lines say of the image that the worker has."""
        facts = {"stage": self.stage, "worker": self.process.pid}
        return (dict(self._image.about) if self._image else {}) | facts


def _exit_code(process: BaseProcess) -> int | None:
    """Waits for the process's end; None where it does not come, or is not told. Blocks."""
    try:
        wait([process.sentinel], EXIT_S)
        with PROCESSES:
            return process.exitcode
    except ValueError:  # it was closed meanwhile
        return None


def _planned(head: Mapping[str, Any]) -> Planned:
    """A worker's plan; raises `WorkerBroken` where it is none."""
    try:
        height, width = (int(side) for side in head["size"])
        return Planned(
            (height, width), int(head["tiles"]), int(head["bytes"]), float(head["decode_seconds"]), str(head["sha256"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerBroken(f"a worker sent what is no plan: {error}") from error


def _tile(head: Mapping[str, Any], payload: memoryview) -> Tile:
    """A worker's tile; raises `WorkerBroken` where it is none."""
    try:
        tile = np.frombuffer(payload, np.uint8).reshape(head["shape"])
        height, width, channels = tile.shape
        check_tile((height, width))
        if channels != 3:
            raise ValueError(f"a tile has 3 channels, got {channels}")
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerBroken(f"a worker sent what is no tile: {error}") from error
    return tile


def _answer(head: Mapping[str, Any], payload: memoryview, answer_file: int) -> WorkerAnswer:
    """A worker's answer, inline or in the file; raises `WorkerBroken` where it is none."""
    try:
        length = os.fstat(answer_file).st_size
        body = Body(bytes(payload), None, len(payload)) if payload else Body(b"", answer_file, length)
        seconds = {stage: float(head["seconds"][stage]) for stage in ("decode", "inference", "encode")}
        return WorkerAnswer(body, "gzip" if head["encoding"] else "", seconds)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerBroken(f"a worker sent what is no answer: {error}") from error
