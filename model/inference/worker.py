"""A worker process as the process that started it sees it, and what is handed to it and comes back. For an event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imaging.decoding import Limits
from imaging.errors import DamagedImage
from model.inference.errors import WorkerFailed
from model.inference.frames import (
    INLINE_BYTES,
    WorkerEnded,
    anonymous_file,
    read_file,
    receive_async,
    send_async,
    send_files,
    write_file,
)
from model.inference.merging import Logits
from model.inference.runtime import Tile
from model.inference.segmenter import Options
from model.inference.tiling import Size, check_tile
from model.inference.worker_main import DROPPED, PLAN_BYTES, PLAN_SECONDS, REPORTED, Drop, Start, Task

GROWN_BYTES = 64 << 20  # by which a worker may have grown
MOST_IMAGES = 2000  # that a worker works on
EXIT_S = 5.0  # within which a killed process has ended
PLAN_TIMEOUT_S = 10.0  # for an image to be planned, by the clock
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

    def __init__(self, process: BaseProcess, channel: socket.socket, on_cpu: Callable[[float], None]) -> None:
        self.process = process
        self.images = 0
        self.idle = True
        self.stage: Stage = "plan"
        self.death: DeathReason | None = None
        self.planned: Planned | None = None
        self._channel = channel
        self._on_cpu = on_cpu
        self._image: Image | None = None
        self._sha256 = ""
        self._tile_error: BaseException | None = None
        self._first_bytes = self.resident_bytes

    @property
    def resident_bytes(self) -> int:
        """Of memory; 0 where the system does not say."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    @property
    def worn(self) -> bool:
        """Whether it has grown, or worked on many images, and is to be replaced."""
        return self.images >= MOST_IMAGES or self.resident_bytes - self._first_bytes > GROWN_BYTES

    async def plan(self, image: Image, runtime: bytes, ahead: int) -> Planned:
        """Hands over the image's bytes. runtime: a pickled `DistantRuntime`; ahead: of tiles, before their logits have come.

        Raises an `ImageError`, `ArrayTooLarge`, `SideTooLarge`, `TilingError` or `WorkerFailed`.
        """
        self.idle, self.stage, self.planned, self._image, self._sha256 = False, "plan", None, image, ""
        self.images += 1
        body = image.body
        task = Task(runtime, image.limits, image.options, image.gzip, ahead, body.length if body.descriptor else None)
        try:
            async with asyncio.timeout(PLAN_TIMEOUT_S):
                descriptors = [body.descriptor] if body.descriptor else []
                await send_files(self._channel, pickle.dumps(task), body.data, descriptors)
                received, _ = await self._receive()
                self._sha256 = str(received["sha256"])
                head, _ = await self._receive()
            self.planned = _planned(head, self._sha256)
        except TimeoutError as error:
            self.kill("processor_time")
            raise self._too_costly() from error
        except OSError as error:
            raise await self._failure() from error
        return self.planned

    async def drop(self) -> None:
        """Ends the image's work after `plan`."""
        try:
            await send_async(self._channel, pickle.dumps(Drop()))
        except OSError as error:
            raise await self._failure() from error
        self.idle = True

    async def work(self, granted_bytes: int, submit: Submit) -> WorkerAnswer:
        """The answer, made with so many bytes beside the file's own; its tiles go through `submit`.

        Raises `DamagedImage`, also where a limit ended decoding, `WorkerFailed`, or what `submit`'s futures raise.
        """
        self.stage = "decode"
        answer_file = anonymous_file()
        logits: asyncio.Queue[asyncio.Future[Logits]] = asyncio.Queue()
        returning = asyncio.create_task(self._return(logits))
        try:
            await send_files(self._channel, pickle.dumps(Start(granted_bytes)), b"", [answer_file])
            while (frame := await self._receive())[0]["kind"] == "tile":
                self.stage = "answer"
                logits.put_nowait(submit(_tile(*frame)))
            answer = _answer(*frame, answer_file)
            if answer.body.descriptor is not None:
                answer_file = -1
            self.idle = True
            return answer
        except OSError as error:
            raise await self._failure() from error
        finally:
            returning.cancel()
            if answer_file >= 0:
                os.close(answer_file)
            while not logits.empty():
                logits.get_nowait().cancel()

    async def _return(self, logits: asyncio.Queue[asyncio.Future[Logits]]) -> None:
        """Sends each tile's logits in order; after a tile that failed, which ends the image's work, nothing more."""
        with suppress(OSError):  # the worker ended, as whoever receives sees
            while True:
                tile = await logits.get()
                await asyncio.wait([tile])
                if tile.cancelled() or (error := tile.exception()):
                    self._tile_error = None if tile.cancelled() else error
                    await send_async(self._channel, pickle.dumps(Drop()))
                    return
                result = np.ascontiguousarray(tile.result())
                await send_async(self._channel, pickle.dumps(result.shape), result.data.cast("B"))

    def kill(self, reason: DeathReason) -> None:
        """Ends the process at once. The first reason stays."""
        self.death = self.death or reason
        with suppress(OSError, ValueError):
            self.process.kill()  # what comes next over the channel is its end

    async def reap(self) -> None:
        """Waits for the process's end, and frees what it had here."""
        with suppress(OSError, ValueError):
            self.process.kill()  # it may have closed its end without coming to its own
        await asyncio.to_thread(self.process.join, EXIT_S)
        self._channel.close()
        with suppress(ValueError):  # it runs still
            self.process.close()

    async def _receive(self) -> tuple[dict[str, Any], bytearray]:
        """The next frame. Raises what the worker reports, and `WorkerEnded` where it ended or sends what no worker sends."""
        try:
            head, payload = await receive_async(self._channel)
            document: dict[str, Any] = json.loads(head)
            kind = document["kind"]
            self._on_cpu(float(document.get("cpu_seconds", 0.0)))
            if kind == "error":
                name, message = document["type"], str(document["message"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.kill("crash")
            raise WorkerEnded(f"a worker sent what cannot be read: {error}") from error
        if kind == "error":
            self.idle = True
            raise self._reported(name, message)
        return document, payload

    def _reported(self, name: str, message: str) -> BaseException:
        if name == DROPPED and self._tile_error:
            error, self._tile_error = self._tile_error, None
            return error
        if name == "MemoryError" and self.stage != "answer":
            return self._too_costly()
        if name in REPORTED and name != "MemoryError":
            return REPORTED[name](message)
        log.error("a worker failed", extra={"fields": self._about() | {"exception": message}})
        return WorkerFailed("the image could not be worked on; the log has the request's id")

    async def _failure(self) -> Exception:
        """What to raise once the worker has ended by itself."""
        await asyncio.to_thread(self.process.join, EXIT_S)
        code = self.process.exitcode
        if self.death is None:
            self.death = "processor_time" if code == -signal.SIGXCPU else "killed" if code == -signal.SIGKILL else "crash"
        if self.stage == "answer" or self.death == "killed":
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
        facts = self._about() | {"reason": self.death, "sha256": self._sha256}
        if self.planned:
            facts |= {"size": f"{self.planned.size[1]}x{self.planned.size[0]}"}
        log.warning("a worker process ended", extra={"fields": facts})

    def _about(self) -> dict[str, Any]:
        """What log lines say of the image that the worker has."""
        facts = {"stage": self.stage, "worker": self.process.pid}
        return (dict(self._image.about) if self._image else {}) | facts


def _planned(head: Mapping[str, Any], sha256: str) -> Planned:
    """A worker's plan; raises `WorkerEnded` where it is none."""
    try:
        height, width = (int(side) for side in head["size"])
        return Planned((height, width), int(head["tiles"]), int(head["bytes"]), float(head["decode_seconds"]), sha256)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerEnded(f"a worker sent what is no plan: {error}") from error


def _tile(head: Mapping[str, Any], payload: bytearray) -> Tile:
    """A worker's tile; raises `WorkerEnded` where it is none."""
    try:
        tile = np.frombuffer(payload, np.uint8).reshape(head["shape"])
        height, width, channels = tile.shape
        check_tile((height, width))
        if channels != 3:
            raise ValueError(f"a tile has 3 channels, got {channels}")
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerEnded(f"a worker sent what is no tile: {error}") from error
    return tile


def _answer(head: Mapping[str, Any], payload: bytearray, answer_file: int) -> WorkerAnswer:
    """A worker's answer, inline or in the file; raises `WorkerEnded` where it is none."""
    try:
        length = os.fstat(answer_file).st_size
        body = Body(bytes(payload), None, len(payload)) if payload else Body(b"", answer_file, length)
        seconds = {stage: float(head["seconds"][stage]) for stage in ("decode", "inference", "encode")}
        return WorkerAnswer(body, "gzip" if head["encoding"] else "", seconds)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerEnded(f"a worker sent what is no answer: {error}") from error
