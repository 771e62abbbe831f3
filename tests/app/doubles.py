"""Small real objects that tests of the service hold in their hands: a clock, a runtime, a runtime that waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from app.serving.registry import Model
from app.serving.service import Job, Service
from imaging.decoding import Limits
from model.architecture import Architecture, Grid
from model.inference.merging import Logits
from model.inference.processes.worker import Body, Image
from model.inference.runtime import ModelIdentity, Runtime, Tile
from model.inference.scheduler import Scheduler
from model.inference.segmenter import Options, Segmenter
from model.labels import numbered_labels
from model.manifest import Manifest
from model.preprocessing import Preprocessing
from tests.conftest import HANG_S, wait_for

T = TypeVar("T")


class Alone:
    """A service on an event loop of its own, in a thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(service.start())

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """What a coroutine gives, on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.submit(coroutine).result(HANG_S)

    def segment(
        self, data: bytes, options: Options, deadline: float | None = None, check: Callable[..., None] = lambda *_: None
    ) -> Future[bytes]:
        """The answer's bytes, as a request gets them."""
        return self.submit(self._segment(data, options, deadline, check))

    async def _segment(self, data: bytes, options: Options, deadline: float | None, check: Callable[..., None]) -> bytes:
        service = self.service
        reservation = service.reserve()
        job = Job(Image(Body.of(data), options, Limits()), None, reservation, check)
        answer = await service.segment(job, deadline or service.deadline())
        try:
            return answer.body.read(answer.body.length)
        finally:
            answer.body.close()
            service.budget.end(reservation.memory)

    def stop(self) -> None:
        self.call(self.service.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hold:
    """Where calls wait while it is closed; `entered` once one has come. They raise `error` where it is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._open = threading.Event()
        self._open.set()
        self.entered = threading.Event()

    def close(self) -> None:
        self.entered.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __enter__(self) -> Hold:
        self.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def __call__(self) -> None:
        self.entered.set()
        assert self._open.wait(HANG_S)
        if self.error:
            raise self.error


class FirstChannel:
    """A runtime of one class whose logits are the tile's first channel; keeps the first value of each tile, by batch.

    Raises what `errors` has for a tile's first value.
    """

    device = "cpu"
    stride = 1
    grid: Grid = "corner"

    def __init__(self, max_batch: int | None = None, concurrency: int = 1) -> None:
        architecture = Architecture("fcn32s", "mobilenet_v2", 1)
        self.identity = ModelIdentity("first-channel", "0" * 64, "double", "float32")
        self.file_sha256, self.network_sha256 = "0" * 64, ""
        self.manifest = Manifest(architecture, numbered_labels(["one"]), Preprocessing(), "Apache-2.0")
        self.max_batch, self.max_concurrency = max_batch, concurrency
        self.batches: list[list[int]] = []
        self.errors: dict[int, Exception] = {}
        self.hold = Hold()

    def concurrency(self, tiles: int) -> int:
        return self.max_concurrency

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self.hold()
        values = [int(tile[0, 0, 0]) for tile in tiles]
        self.batches.append(values)
        for value in values:
            if value in self.errors:
                raise self.errors[value]
        return np.stack([tile[None, :, :, 0].astype(np.float32) for tile in tiles])

    def describe(self) -> dict[str, str]:
        return {}


class HeldRuntime:
    """A real runtime behind a hold."""

    def __init__(self, runtime: Runtime, hold: Hold) -> None:
        self._runtime, self._hold = runtime, hold
        self.identity, self.manifest, self.device = runtime.identity, runtime.manifest, runtime.device
        self.stride, self.grid = runtime.stride, runtime.grid
        self.file_sha256, self.network_sha256 = runtime.file_sha256, runtime.network_sha256
        self.max_batch, self.max_concurrency = runtime.max_batch, runtime.max_concurrency

    def concurrency(self, tiles: int) -> int:
        return self._runtime.concurrency(tiles)

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self._hold()
        return self._runtime.logits(tiles)

    def describe(self) -> dict[str, str]:
        return self._runtime.describe()


@contextmanager
def held(service: Service) -> Iterator[Hold]:
    """The service with its default model behind a hold, which is closed.

    At the end it is opened, what waits is done, which leaves no reservation, and the model is put back.
    """
    before = service.registry.models
    model, hold = next(iter(before.values())), Hold()
    runtime = HeldRuntime(model.segmenter.runtime, hold)
    scheduler = Scheduler(
        [runtime], max_batch=1, on_batch=service.metrics.batch, on_failure=service.fail, clock=model.scheduler.clock
    )
    scheduler.start()
    hold.close()
    service.registry.models = {model.name: Model(Segmenter(runtime, model.segmenter.limits), scheduler)}
    try:
        yield hold
    finally:
        hold.open()
        wait_for(lambda: service.admission.requests == 0)
        service.registry.models = before
        scheduler.stop()
