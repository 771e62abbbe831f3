"""A worker process: plans, decodes, cuts, merges and encodes one untrusted image at a time.

The network runs in the parent process: the worker sends tiles and receives their logits. It starts no threads. `serve` is its
main function; `model.inference.processes.worker` is the parent's side. A conversation, each entry a frame (`<-` received,
`->` sent):

    <- Task (pickled), with the body or its file    -> {"kind": "plan", ...}, or an error
    <- Start (pickled), unless the task grants it   -> a {"kind": "tile"} for each tile, up to `ahead` before logits
    <- logits of each tile                          -> {"kind": "file"}, if the answer is larger than a frame may be
    <- the answer's file                            -> {"kind": "answer", ...}, or an error

The parent may send `Drop` instead of `Start`, of logits or of the file. It ends the task.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import select
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np

from imaging.decoding import Limits
from imaging.errors import AnswerTooLarge, DamagedImage, EmptyImage, ImageTooLarge, UnknownClass, UnknownImageType
from model.inference.errors import NoConfidence
from model.inference.memory import memory_bytes
from model.inference.merging import Logits
from model.inference.plan import Options, Plan
from model.inference.processes.confinement import confine, die_first
from model.inference.processes.frames import INLINE_BYTES, WorkerEnded, read_file, receive, send, write_file
from model.inference.processes.limits import limit, prepare_limits, unlimit, unlimit_cpu
from model.inference.runtime import DistantRuntime, Tile
from model.inference.scaling import SideError
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilingError

DROPPED_TASK = "dropped"  # the error name of a task that ended because one of its tiles failed
PLAN_BYTES = 64 << 20  # memory that planning an image may take besides the file's own bytes
PLAN_SECONDS = 1  # processor time that planning an image may take
DECODE_SECONDS, DECODE_MEGAPIXELS_PER_SECOND = 1.0, 10.0  # processor time that decoding may take (`decode_seconds`)
SCENE_MEGAPIXELS_PER_SECOND = 2.5  # of scenes, which may have many bands of 16 bits, read twice where they are scaled
GZIP_LEVEL, GZIP_BYTES = 5, 1000
MOST_MESSAGE = 4000  # longest text of an error, in characters
REPORTED_ERRORS = {
    error.__name__: error
    for error in (
        EmptyImage, UnknownImageType, ImageTooLarge, DamagedImage, AnswerTooLarge, UnknownClass, NoConfidence, SideError,
        TilingError, MemoryError,
    )
}  # fmt: skip
"""Errors of an image, by name. The worker reports them and the parent raises them again."""


@dataclass(frozen=True)
class Grant:
    """Lets the worker begin right after its plan, without waiting for `Start`, if the image needs no more than this.

    bytes: of memory, besides the file's own. megapixels: of the image.
    """

    bytes: int
    megapixels: float = inf

    def covers(self, needed_bytes: int, megapixels: float) -> bool:
        return needed_bytes <= self.bytes and megapixels <= self.megapixels


NO_GRANT = Grant(0)


@dataclass(frozen=True)
class Task:
    """An image to segment.

    runtime: a pickled `DistantRuntime`. gzip: whether to compress a JSON answer. ahead: how many tiles may be sent before
    logits must be received. grant: what the work may take without a `Start`. body_bytes: length of the body's file; None where
    the body is the frame's payload.
    """

    runtime: bytes
    limits: Limits
    options: Options
    gzip: bool
    ahead: int
    grant: Grant
    body_bytes: int | None


@dataclass(frozen=True)
class Start:
    """Permission to begin. bytes: of memory that the work may take besides the file's own bytes."""

    bytes: int


@dataclass(frozen=True)
class Drop:
    """Ends the task, because nobody waits for it any more or one of its tiles failed."""


class _DroppedError(Exception):
    """The parent sent `Drop`."""


def serve(channel: socket.socket) -> None:
    """Confines this process, then handles tasks until the parent closes its end of the channel, and exits."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # discards stderr, where libtiff writes a line for each damaged row
    channel.setblocking(True)
    try:
        die_first()
        prepare_limits()
        try:
            confine()
        except OSError as error:
            _reply(channel, {"kind": "error", "type": "unexpected", "message": f"it could not be confined: {error}"})
            return
        _reply(channel, {"kind": "ready"})
        while True:
            unlimit()  # the limits of the last image do not suit the next one's bytes, whose length the parent knows
            task, body = _receive_task(channel)
            conversation = _Conversation(channel, task, body)
            del body  # so that the conversation holds the only reference, and can free it before it sends the answer
            conversation.run()
    finally:
        os._exit(0)  # nothing needs cleaning up, and a regular exit needs memory, which may have run out


def _receive_task(channel: socket.socket) -> tuple[Task, bytes]:
    """The next task, and its image's bytes. A `Drop` before it is of a task that ended meanwhile."""
    while True:
        head, payload, descriptors = receive(channel)
        task: Task | Drop = pickle.loads(head)  # noqa: S301 (from the process that started this one)
        if isinstance(task, Task):
            break
    if task.body_bytes is None:
        return task, bytes(payload)
    body = read_file(descriptors[0], task.body_bytes)
    os.close(descriptors[0])
    return task, body


class _Conversation:
    """Handles one task, from the image's bytes to the answer."""

    def __init__(self, channel: socket.socket, task: Task, body: bytes) -> None:
        self.channel, self.task, self.body = channel, task, body
        self.segmenter = distant_segmenter(task.runtime, task.limits)
        self._hangup = select.poll()
        self._hangup.register(channel, 0)

    def run(self) -> None:
        """Sends the plan, the tiles and then the answer or an error. The image's memory is freed before the last frame."""
        try:
            head, body = self._work()
        except (WorkerEnded, BrokenPipeError, ConnectionResetError):
            raise
        except tuple(REPORTED_ERRORS.values()) as error:
            unlimit()
            name = next(base.__name__ for base in type(error).__mro__ if base.__name__ in REPORTED_ERRORS)
            head, body = {"kind": "error", "type": name, "message": str(error)[:MOST_MESSAGE]}, b""
        except _DroppedError:
            head, body = {"kind": "error", "type": DROPPED_TASK, "message": ""}, b""
        except Exception as error:  # an error of one image must not end the worker
            unlimit()
            text = "".join(traceback.format_exception(error))[-MOST_MESSAGE:]
            head, body = {"kind": "error", "type": "unexpected", "message": text}, b""
        self.body = b""
        _reply(self.channel, head, body)

    def _work(self) -> tuple[dict[str, object], bytes]:
        """The head and body of the answer."""
        self.segmenter.prepare(self.task.options)  # within no limit: it reads none of the image's bytes
        limit(PLAN_BYTES, PLAN_SECONDS)
        plan = self.segmenter.plan(self.body, self.task.options)
        needed_bytes = memory_bytes(self.segmenter, self.body, plan)
        sha256 = hashlib.sha256(self.body).hexdigest()
        side = plan.options.side
        _reply(self.channel, {"kind": "plan", "size": plan.size, "side": side, "bytes": needed_bytes, "sha256": sha256})
        if not self.task.grant.covers(needed_bytes, plan.megapixels):
            needed_bytes = self._receive()[0].bytes
        limit(needed_bytes, decode_seconds(plan, self.segmenter))
        return self._segment(plan)

    def _segment(self, plan: Plan) -> tuple[dict[str, object], bytes]:
        output = self.segmenter.segment(self.body, plan, self._run, self._check)
        body, encoding, start = output.body, "", time.perf_counter()
        if self.task.gzip and plan.options.rendering.is_json and len(body) >= GZIP_BYTES:
            body, encoding = gzip.compress(body, GZIP_LEVEL, mtime=0), "gzip"
        if len(body) > INLINE_BYTES:
            self._write_file(body)
            body = b""
        output.seconds["encode"] += time.perf_counter() - start
        head: dict[str, object] = {
            "kind": "answer",
            "encoding": encoding,
            "seconds": output.seconds,
            "counts": output.counts,
            "mean_confidence": output.mean_confidence,
            "box": output.box,
            "object_pixels": output.object_pixels,
            "remark": output.remark,
        }
        return head, body

    def _write_file(self, body: bytes) -> None:
        """Asks for a file, and writes the answer to it."""
        _reply(self.channel, {"kind": "file"})
        _, _, (descriptor,) = self._receive()
        try:
            write_file(descriptor, body)
        finally:
            os.close(descriptor)

    def _run(self, tiles: Iterator[Tile]) -> Iterator[Logits]:
        """Sends tiles, and yields their logits in order."""
        unlimit_cpu()  # decoding is over; the request's deadline bounds the rest
        pending = 0
        for tile in tiles:
            _reply(self.channel, {"kind": "tile", "shape": tile.shape}, np.ascontiguousarray(tile).data.cast("B"))
            pending += 1
            if pending >= self.task.ahead:
                yield self._logits()
                pending -= 1
        for _ in range(pending):
            yield self._logits()

    def _logits(self) -> Logits:
        shape, payload, _ = self._receive()
        return np.frombuffer(payload, np.float32).reshape(shape)

    def _receive(self) -> tuple[Any, bytearray, list[int]]:
        """The next frame for this task, its head unpickled. Raises `_DroppedError`."""
        head, payload, descriptors = receive(self.channel)
        message = pickle.loads(head)  # noqa: S301
        if isinstance(message, Drop):
            raise _DroppedError
        return message, payload, descriptors

    def _check(self) -> None:
        """Raises `WorkerEnded` when the parent has closed its end of the channel."""
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in self._hangup.poll(0)):
            raise WorkerEnded("the other end is closed")


def decode_seconds(plan: Plan, segmenter: Segmenter) -> float:
    """The processor time that decoding an image of this plan may take."""
    rate = SCENE_MEGAPIXELS_PER_SECOND if segmenter.reads_scene(plan.options.rendering) else DECODE_MEGAPIXELS_PER_SECOND
    return DECODE_SECONDS + plan.megapixels / rate


def _reply(channel: socket.socket, head: dict[str, object], payload: bytes | memoryview = b"") -> None:
    send(channel, json.dumps(head).encode(), payload)


@lru_cache(maxsize=8)
def distant_segmenter(runtime: bytes, limits: Limits) -> Segmenter:
    """A segmenter without a network, for a pickled `DistantRuntime` of the parent."""
    distant_runtime: DistantRuntime = pickle.loads(runtime)  # noqa: S301
    return Segmenter(distant_runtime, limits)
