"""A worker process: plans, decodes, cuts, merges and encodes one untrusted image at a time.

The network runs in the front: the worker sends tiles and receives their logits. It starts no threads. `serve` is its main
function; `protocol.py` has the conversation, `worker.py` is the front's side.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from model.inference.merging import Logits
from model.inference.plan import Plan
from model.inference.processes import protocol
from model.inference.processes.blob import INLINE_BYTES, read_file, write_file
from model.inference.processes.confinement import confine, limit, unlimit, unlimit_cpu
from model.inference.processes.frames import receive, send
from model.inference.processes.protocol import PLAN_BYTES, PLAN_SECONDS, Drop, Task, TaskDropped
from model.inference.runtime import Tile

GZIP_LEVEL, GZIP_BYTES = 5, 1000
Head = dict[str, object]


def serve(channel: socket.socket) -> None:
    """Confines this process, then handles tasks until the front closes its end of the channel, and exits."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # discards stderr, where libtiff writes a line for each damaged row
    channel.setblocking(True)
    try:
        try:
            confine()
        except OSError as error:
            _reply(channel, {"kind": "error", "type": "unexpected", "message": f"it could not be confined: {error}"})
            return
        _reply(channel, {"kind": "ready"})
        while True:
            unlimit()  # the limits of the last image do not suit the next one's bytes, whose length the front knows
            _Conversation(channel, *_receive_task(channel)).run()
    finally:
        os._exit(0)  # nothing needs cleaning up, and a regular exit needs memory, which may have run out


def _receive_task(channel: socket.socket) -> tuple[Task, bytes]:
    """The next task, and its image's bytes. A frame before it is of a task that ended meanwhile."""
    while True:
        head, payload, descriptors = receive(channel)
        task: Task | Drop = pickle.loads(head)  # noqa: S301 (from the process that started this one)
        if isinstance(task, Task):
            break
    if not descriptors:
        return task, bytes(payload)
    body = read_file(descriptors[0], os.fstat(descriptors[0]).st_size)
    os.close(descriptors[0])
    return task, body


class _Conversation:
    """Handles one task, from the image's bytes to the answer."""

    def __init__(self, channel: socket.socket, task: Task, body: bytes) -> None:
        self.channel, self.task, self.body = channel, task, body
        self.segmenter = protocol.distant_segmenter(task.runtime, task.limits)

    def run(self) -> None:
        """Sends the plan, the tiles and then the answer or an error. The image's memory is freed before the last frame."""
        try:
            head, body = self._work()
        except ConnectionError:  # the front has ended
            raise
        except Exception as error:  # an error of one image must not end the worker
            unlimit()
            head, body = protocol.error_head(error), b""
        self.body = b""
        _reply(self.channel, head, body)

    def _work(self) -> tuple[Head, bytes]:
        """The head and body of the answer."""
        self.segmenter.prepare(self.task.options)  # within no limit: it reads none of the image's bytes
        limit(PLAN_BYTES, PLAN_SECONDS)
        plan = self.segmenter.plan(self.body, self.task.options)
        needed_bytes = self.segmenter.memory_bytes(self.body, plan)
        sha256 = hashlib.sha256(self.body).hexdigest()
        side = plan.options.side
        _reply(self.channel, {"kind": "plan", "size": plan.size, "side": side, "bytes": needed_bytes, "sha256": sha256})
        if not self.task.grant.covers(needed_bytes, plan.megapixels):
            needed_bytes = self._receive()[0].bytes
        limit(needed_bytes, protocol.decode_seconds(plan, self.segmenter))
        return self._segment(plan)

    def _segment(self, plan: Plan) -> tuple[Head, bytes]:
        output = self.segmenter.segment(self.body, plan, self._run)
        body, encoding, start = output.body, "", time.perf_counter()
        if self.task.gzip and plan.options.rendering.is_json and len(body) >= GZIP_BYTES:
            body, encoding = gzip.compress(body, GZIP_LEVEL, mtime=0), "gzip"
        if len(body) > INLINE_BYTES:
            self._write_file(body)
            body = b""
        output.seconds["encode"] += time.perf_counter() - start
        facts = {name: fact for name, fact in vars(output).items() if name != "body"}
        return {"kind": "answer", "encoding": encoding} | facts, body

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

    def _receive(self) -> tuple[Any, memoryview, list[int]]:
        """The next frame for this task, its head unpickled. Raises `TaskDropped`."""
        head, payload, descriptors = receive(self.channel)
        message = pickle.loads(head)  # noqa: S301
        if isinstance(message, Drop):
            raise TaskDropped
        return message, payload, descriptors


def _reply(channel: socket.socket, head: Head, payload: bytes | memoryview = b"") -> None:
    send(channel, json.dumps(head).encode(), payload)
