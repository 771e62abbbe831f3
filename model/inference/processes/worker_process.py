"""A worker process: plans, decodes, cuts, merges and encodes one untrusted image at a time.

The network runs in the front: the worker sends tiles and receives their logits. It starts no threads. `serve` is its main
function; `conversation.py` has the conversation, `worker.py` is the front's side.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import time
from collections.abc import Iterator

from model.inference.merging import Logits
from model.inference.plan import Plan
from model.inference.processes import protocol
from model.inference.processes.blob import INLINE_BYTES, read_file, write_file
from model.inference.processes.confinement import confine, limit, unlimit, unlimit_cpu
from model.inference.processes.conversation import Front
from model.inference.processes.protocol import PLAN_BYTES, PLAN_SECONDS, Task, TaskDropped
from model.inference.runtime import Tile

GZIP_LEVEL, GZIP_BYTES = 5, 1000
Head = dict[str, object]


def serve(channel: socket.socket) -> None:
    """Confines this process, then handles tasks until the front closes its end of the channel, and exits."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # discards stderr, where libtiff writes a line for each damaged row
    channel.setblocking(True)
    front = Front(channel)
    try:
        try:
            confine()
        except OSError as error:
            front.send({"kind": "error", "type": "unexpected", "message": f"it could not be confined: {error}"})
            return
        front.send({"kind": "ready"})
        while True:
            unlimit()  # the limits of the last image do not suit the next one's bytes, whose length the front knows
            _Work(front, *_receive_task(front)).run()
    finally:
        os._exit(0)  # nothing needs cleaning up, and a regular exit needs memory, which may have run out


def _receive_task(front: Front) -> tuple[Task, bytes]:
    """The next task, and its image's bytes. A frame before it is of a task that ended meanwhile."""
    while True:
        try:
            task, payload, descriptors = front.receive()
        except TaskDropped:
            continue
        if isinstance(task, Task):
            break
    if not descriptors:
        return task, bytes(payload)
    body = read_file(descriptors[0], os.fstat(descriptors[0]).st_size)
    os.close(descriptors[0])
    return task, body


class _Work:
    """Handles one task, from the image's bytes to the answer."""

    def __init__(self, front: Front, task: Task, body: bytes) -> None:
        self.front, self.task, self.body = front, task, body
        self.segmenter = protocol.distant_segmenter(task.runtime, task.limits)
        self.answer_files: list[int] = []  # one, or none if there is no room

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
        for descriptor in self.answer_files:
            os.close(descriptor)
        self.front.send(head, body)

    def _work(self) -> tuple[Head, bytes]:
        """The head and body of the answer."""
        self.segmenter.prepare(self.task.options)  # within no limit: it reads none of the image's bytes
        limit(PLAN_BYTES, PLAN_SECONDS)
        plan = self.segmenter.plan(self.body, self.task.options)
        needed_bytes = self.segmenter.memory_bytes(self.body, plan)
        sha256 = hashlib.sha256(self.body).hexdigest()
        side = plan.options.side
        self.front.send({"kind": "plan", "size": plan.size, "side": side, "bytes": needed_bytes, "sha256": sha256})
        granted_bytes, _, self.answer_files = self.front.receive()
        limit(granted_bytes, protocol.decode_seconds(plan, self.segmenter))
        return self._segment(plan)

    def _segment(self, plan: Plan) -> tuple[Head, bytes]:
        output = self.segmenter.segment(self.body, plan, self._run)
        body, encoding, start = output.body, "", time.perf_counter()
        if self.task.gzip and plan.options.rendering.is_json and len(body) >= GZIP_BYTES:
            body, encoding = gzip.compress(body, GZIP_LEVEL, mtime=0), "gzip"
        if len(body) > INLINE_BYTES:
            if not self.answer_files:
                raise TaskDropped
            write_file(self.answer_files[0], body)
            body = b""
        output.seconds["encode"] += time.perf_counter() - start
        facts = {name: fact for name, fact in vars(output).items() if name != "body"}
        return {"kind": "answer", "encoding": encoding} | facts, body

    def _run(self, tiles: Iterator[Tile]) -> Iterator[Logits]:
        """Sends tiles, and yields their logits in order."""
        unlimit_cpu()  # decoding is over; the request's deadline bounds the rest
        count = 0
        for tile in tiles:
            self.front.send_tile(tile)
            count += 1
            if count >= self.task.ahead:
                yield self.front.receive_logits()
                count -= 1
        for _ in range(count):
            yield self.front.receive_logits()
