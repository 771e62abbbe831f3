"""Workers on an event loop, in front of the narrow network, and what asks them."""

from __future__ import annotations

import pickle
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from imaging.decoding import Limits
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.conversation import FrameChannel
from model.inference.processes.protocol import ImageRequest
from model.inference.processes.worker import DeathReason
from model.inference.processes.workers import Workers
from model.inference.runtime import Runtime, Tile
from model.inference.segmenter import Segmenter
from tests.support.images import encode, make_photo

PHOTO = encode(make_photo(90, 130))
OPTIONS = Options(tile=(96, 96))


class Asking:
    """Workers, the deaths that they tell of, and images that are worked on by them."""

    def __init__(self, runtime: Runtime, count: int) -> None:
        self.segmenter = Segmenter(runtime)
        self.description = pickle.dumps(Runtime.of(runtime))
        self.deaths: list[DeathReason] = []
        self.failures: list[str] = []
        self.network = ThreadPoolExecutor(2)
        self.workers = Workers(count, on_death=self.deaths.append, on_failure=self.failures.append)

    def submit(self, tile: Tile) -> Future[Logits]:
        return self.network.submit(lambda: self.segmenter.runtime.logits([tile])[0])

    async def segment(self, data: bytes, options: Options | None = None, memory_bytes: int | None = None) -> bytes:
        """The answer's bytes; `memory_bytes` in place of the memory that the plan asks for."""
        image = ImageRequest(Blob.of(data), options or Options(), Limits())
        try:
            async with self.workers.claim() as worker:
                plan = await worker.plan(image, self.description, ahead=2)
                answer = await worker.work(plan.bytes if memory_bytes is None else memory_bytes, self.submit)
        finally:
            image.body.close()
        try:
            return answer.body.read(answer.body.length)
        finally:
            answer.body.close()

    def alone(self, data: bytes, options: Options | None = None) -> bytes:
        """What a segmenter answers in this process."""
        return self.segmenter.segment(data, self.segmenter.plan(data, options or Options())).body


@asynccontextmanager
async def asking(runtime: Runtime, count: int = 2) -> AsyncIterator[Asking]:
    it = Asking(runtime, count)
    await it.workers.start()
    try:
        yield it
    finally:
        await it.workers.stop()
        it.network.shutdown()


@contextmanager
def channel() -> Iterator[tuple[FrameChannel, socket.socket]]:
    """The front's side of the socket to a process, and the process's end of it, to which a test writes."""
    here, end = socket.socketpair()
    frames = FrameChannel(here)
    try:
        yield frames, end
    finally:
        frames.close()
        end.close()
