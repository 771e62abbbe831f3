"""A worker process: plans, decodes, cuts, merges and encodes one image at a time, of bytes that nobody trusts.

Its network runs in the process that started it: tiles go there, logits come back. It starts no threads. `serve` is its main
function; `model.inference.worker` is the other side. A conversation, each entry a frame:

    <- Task (pickled), with the body or its file    -> {"kind": "planned", ...}, or an error
    <- Start (pickled), with the answer's file      -> {"kind": "tile"} each, up to `ahead` of the logits
    <- logits of each tile                          -> {"kind": "answer", ...}, or an error

In place of `Start`, or of logits, there may be `Drop`, which ends the task.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np

from imaging.decoding import Limits
from imaging.errors import AnswerTooLarge, DamagedImage, EmptyImage, ImageTooLarge, UnknownClass, UnknownImageType
from model.inference.cores import process_memory
from model.inference.frames import INLINE_BYTES, WorkerEnded, read_file, receive, send, write_file
from model.inference.merging import Logits
from model.inference.runtime import DistantRuntime, Tile
from model.inference.scaling import SideTooLarge
from model.inference.segmenter import Options, Plan, Segmenter
from model.inference.tiling import TilingError

DROPPED = "dropped"  # the error of a task that ended because the network failed at one of its tiles
LIMITED = sys.platform == "linux"
"""Whether the system keeps limits on memory and processor time."""
PLAN_BYTES = 64 << 20  # of memory that planning an image may take beside its file's own bytes
PLAN_SECONDS = 1  # of processor time for that
DECODE_SECONDS, DECODE_MEGAPIXELS_PER_SECOND = 1.0, 10.0  # processor time for decoding
GZIP_LEVEL, GZIP_BYTES = 5, 1000
REPORTED = {
    error.__name__: error
    for error in (
        EmptyImage, UnknownImageType, ImageTooLarge, DamagedImage, AnswerTooLarge, UnknownClass, SideTooLarge, TilingError,
        MemoryError,
    )
}  # fmt: skip
"""What an image's work may raise and the other side raises again, by name."""


@dataclass(frozen=True)
class Task:
    """An image to be worked on. runtime: a pickled `DistantRuntime`. body_bytes: of the body's file; None where it is inline.

    gzip: whether JSON answers are sent compressed. ahead: most tiles that are sent before their logits have come.
    """

    runtime: bytes
    limits: Limits
    options: Options
    gzip: bool
    ahead: int
    body_bytes: int | None


@dataclass(frozen=True)
class Start:
    """Leave to begin. bytes: of memory that may be taken beside the file's own."""

    bytes: int


@dataclass(frozen=True)
class Drop:
    """The task is not wanted any more, or the network failed at one of its tiles."""


class _DroppedError(Exception):
    pass


def serve(channel: socket.socket) -> None:
    """Works until the other end of the channel is closed. The process's signals are its parent's matter."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # libtiff writes a line for each damaged row
    channel.setblocking(True)
    try:
        _reply(channel, {"kind": "ready"})
        while True:
            task, body = _receive_task(channel)
            conversation = _Conversation(channel, task, body)
            del body  # so that it is freed before the answer is sent
            conversation.run()
    finally:
        os._exit(0)  # nothing is left to put away, and an exit in good order needs memory that may be lacking


def _receive_task(channel: socket.socket) -> tuple[Task, bytes]:
    """The next task, and its image's bytes."""
    head, payload, descriptors = receive(channel)
    task: Task = pickle.loads(head)  # noqa: S301 (from the process that started this one)
    if task.body_bytes is None:
        return task, bytes(payload)
    body = read_file(descriptors[0], task.body_bytes)
    os.close(descriptors[0])
    return task, body


class _Conversation:
    """One image from its bytes to its answer."""

    def __init__(self, channel: socket.socket, task: Task, body: bytes) -> None:
        self.channel, self.task, self.body = channel, task, body
        self.segmenter = _segmenter(task.runtime, task.limits)
        self._hangup = select.poll()
        self._hangup.register(channel, 0)

    def run(self) -> None:
        """Answers with the plan, then with tiles and the answer, or with what was raised, once all else is freed."""
        try:
            head, body = self._work()
        except (WorkerEnded, BrokenPipeError, ConnectionResetError):
            raise
        except tuple(REPORTED.values()) as error:
            _unlimit()
            name = next(base.__name__ for base in type(error).__mro__ if base.__name__ in REPORTED)
            head, body = {"kind": "error", "type": name, "message": str(error)}, b""
        except _DroppedError:
            head, body = {"kind": "error", "type": DROPPED, "message": ""}, b""
        except Exception as error:  # around the work of one image
            _unlimit()
            text = "".join(traceback.format_exception(error))[-4000:]
            head, body = {"kind": "error", "type": "unexpected", "message": text}, b""
        self.body = b""
        if head:
            _reply(self.channel, head, body)

    def _work(self) -> tuple[dict[str, object], bytes]:
        """The answer, or nothing where the task is dropped."""
        _limit(PLAN_BYTES, PLAN_SECONDS)
        plan = self._plan()
        head, _, descriptors = receive(self.channel)
        start = pickle.loads(head)  # noqa: S301
        if isinstance(start, Drop):
            return {}, b""
        _limit(start.bytes, decode_seconds(plan))
        try:
            return self._segment(plan, descriptors[0])
        finally:
            os.close(descriptors[0])

    def _plan(self) -> Plan:
        plan = self.segmenter.plan(self.body, self.task.options)
        _reply(
            self.channel,
            {
                "kind": "planned",
                "size": plan.size,
                "tiles": plan.tile_count,
                "bytes": self.segmenter.taken_bytes(self.body, plan),
                "decode_seconds": decode_seconds(plan),
                "sha256": hashlib.sha256(self.body).hexdigest(),
            },
        )
        return plan

    def _segment(self, plan: Plan, answer_file: int) -> tuple[dict[str, object], bytes]:
        output = self.segmenter.segment(self.body, plan, self._run, self._check)
        body, encoding, started = output.body, "", time.perf_counter()
        if self.task.gzip and plan.options.rendering.media_type == "application/json" and len(body) >= GZIP_BYTES:
            body, encoding = gzip.compress(body, GZIP_LEVEL, mtime=0), "gzip"
        inline = len(body) <= INLINE_BYTES
        if not inline:
            write_file(answer_file, body)
        output.seconds["encode"] += time.perf_counter() - started
        head: dict[str, object] = {"kind": "answer", "encoding": encoding, "seconds": output.seconds}
        return head, body if inline else b""

    def _run(self, tiles: Iterator[Tile]) -> Iterator[Logits]:
        """Sends tiles, and yields their logits in order."""
        _unlimit_cpu()  # the image is decoded: what follows is our arithmetic, which the deadline bounds
        waiting = 0
        for tile in tiles:
            _reply(self.channel, {"kind": "tile", "shape": tile.shape}, np.ascontiguousarray(tile).data.cast("B"))
            waiting += 1
            if waiting >= self.task.ahead:
                yield self._logits()
                waiting -= 1
        for _ in range(waiting):
            yield self._logits()

    def _logits(self) -> Logits:
        head, payload, _ = receive(self.channel)
        shape = pickle.loads(head)  # noqa: S301
        if isinstance(shape, Drop):
            raise _DroppedError
        return np.frombuffer(payload, np.float32).reshape(shape)

    def _check(self) -> None:
        """Raises `WorkerEnded` where nobody waits any more."""
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in self._hangup.poll(0)):
            raise WorkerEnded("the other end is closed")


def decode_seconds(plan: Plan) -> float:
    """Seconds of processor time that an image of this plan may take to be decoded."""
    return DECODE_SECONDS + plan.megapixels / DECODE_MEGAPIXELS_PER_SECOND


def _reply(channel: socket.socket, head: dict[str, object], payload: bytes | memoryview = b"") -> None:
    send(channel, json.dumps(head).encode(), payload)


@lru_cache(maxsize=8)
def _segmenter(runtime: bytes, limits: Limits) -> Segmenter:
    unpickled: DistantRuntime = pickle.loads(runtime)  # noqa: S301
    return Segmenter(unpickled, limits)


def _limit(memory_bytes: int, cpu_seconds: float) -> None:
    """Has the system refuse more memory than this process has now and these bytes, and end it after these seconds."""
    if LIMITED:
        import resource

        _set_soft(resource.RLIMIT_AS, process_memory()[0] + memory_bytes)
        _set_soft(resource.RLIMIT_CORE, 0)
        _set_soft(resource.RLIMIT_CPU, ceil(time.process_time() + cpu_seconds))  # whole seconds since the process's start


def _unlimit_cpu() -> None:
    if LIMITED:
        import resource

        _set_soft(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _unlimit() -> None:
    """Takes both limits back, so that what went wrong can be told."""
    if LIMITED:
        import resource

        _set_soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _unlimit_cpu()


def _set_soft(limit: int, value: int) -> None:
    """Sets the soft limit, within the hard one, which stays."""
    import resource

    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else hard if value < 0 else min(value, hard), hard))
