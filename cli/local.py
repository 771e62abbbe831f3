"""Segments on this machine. Worker processes decode and encode images; the network runs in this process."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import pickle
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace

from cli.report import Result
from common.command_line import settings_digest
from imaging.decoding import Limits
from imaging.object_facts import image_row, object_facts
from model.inference.cores import available_cores
from model.inference.errors import DeadlinePassed, SchedulerEnded
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import ImageRequest
from model.inference.processes.work import work_on
from model.inference.processes.workers import Workers
from model.inference.runtime import Runtime
from model.inference.scheduler import SCHEDULER_STOPPED, Scheduler
from model.inference.segmentation import require_confidence
from model.weights_file import find_files

FOREVER_S = 1e9  # no deadline


@dataclass(frozen=True)
class Network:
    """The network that a command loads. The fields are the command's arguments.

    weights: a name or a path. threads: CPU threads; 0 for one per core.
    """

    weights: str
    runtime: str
    device: str
    precision: str
    threads: int
    cpu_isa: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> Network:
        return cls(args.weights, args.runtime, args.device, args.precision, args.threads, args.cpu_isa)

    def load(self) -> Runtime:
        """Raises `WeightsError` or `RuntimeUnavailable`."""
        return load_runtime(find_files(self.weights), self.runtime, self.device, self.precision, self.threads, self.cpu_isa)


class Local:
    """Turns an image file's bytes into the answer's bytes. Several threads may call it at once.

    threads: CPU threads of the network; 0 means one per core. deadline_s: most seconds for an image; None for no deadline. An
    event loop on its own thread communicates with the worker processes. `close` ends everything that was started here.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: Options,
        limits: Limits | None = None,
        threads: int = 0,
        *,
        deadline_s: float | None = None,
    ) -> None:
        self.options = options
        self.deadline_s = deadline_s
        self.limits = limits or Limits()
        # one more than cores: while the network works on an image, others are read, decoded, encoded and written
        self.workers = (threads or available_cores()) + 1
        self._runtime = Runtime.of(runtime)
        self.instructions = runtime.identity.instructions
        self._description = pickle.dumps(self._runtime)
        self._scheduler = Scheduler([runtime])
        self._scheduler.start()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="workers", daemon=True)
        self._thread.start()
        self._processes = Workers(self.workers, on_failure=self._end_all)
        self._failure_end: asyncio.Task[None] | None = None
        self._is_closed = False
        self._lock = threading.Lock()  # no image is submitted once `_is_closed` is set
        atexit.register(self.close)  # ends the threads before the interpreter ends

    @classmethod
    def load(cls, network: Network, options: Options, *, megapixels: float, deadline_s: float | None = None) -> Local:
        """Loads a network. megapixels: of the largest image.

        Raises `WeightsError`, `RuntimeUnavailable`, or `WrongParameter` for a class or a confidence that the model lacks.
        """
        runtime = network.load()
        options.rendering.class_ids(runtime.manifest.labels.classes)  # raises for a class that the model lacks
        require_confidence(runtime, options.rendering)
        limits = Limits(megapixels, "scale it down, or raise --max-megapixels")
        return cls(runtime, options, limits, network.threads, deadline_s=deadline_s)

    def settings_digest(self) -> str:
        """A digest of what answers depend on: the options, the loaded file, runtime, precision and instructions."""
        # `repr` has every field of the options, also the tile: a new field is part of the key at once
        options = replace(self.options, mean_confidence=False)
        return settings_digest(options, self._runtime.identity, self._runtime.file_sha256)

    def __call__(self, data: bytes, name: str = "image") -> Result:
        """The answer for an image file's bytes. `name` is the image's name, for formats that contain it.

        Raises the errors of a `Worker`, and `InferenceError`, among them `DeadlinePassed`.
        """
        options = replace(self.options, rendering=replace(self.options.rendering, name=name))
        image = ImageRequest(Blob.of(data), options, self.limits)
        with self._lock:
            if self._is_closed:
                image.body.close()
                raise SchedulerEnded(SCHEDULER_STOPPED, is_failure=False)
            future = asyncio.run_coroutine_threadsafe(self._segment(image), self._loop)
        return future.result()

    def close(self) -> None:
        """Ends the workers and the threads. Calling it again does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        atexit.unregister(self.close)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._scheduler.stop()

    def _end_all(self, reason: str) -> None:
        """Lets all images fail, because no worker can be started."""
        self._failure_end = self._failure_end or self._loop.create_task(self._processes.stop(reason))

    async def _end(self) -> None:
        """Ends the workers, and then what still waits for them."""
        await self._processes.stop()
        images = asyncio.all_tasks() - {asyncio.current_task()}
        for image in images:
            image.cancel()
        await asyncio.gather(*images, return_exceptions=True)

    async def _segment(self, image: ImageRequest) -> Result:
        deadline = time.monotonic() + (self.deadline_s or FOREVER_S)
        try:
            with closing(image.body):
                async with asyncio.timeout(self.deadline_s):
                    answer = await work_on(
                        image, workers=self._processes, scheduler=self._scheduler, runtime=self._description, deadline=deadline
                    )
        except TimeoutError as error:
            raise DeadlinePassed(f"no answer within {self.deadline_s:g} s") from error
        with closing(answer.body):
            body = answer.body.read(answer.body.length)
        facts = object_facts(image.options.rendering, answer.box, answer.object_pixels)
        return Result(body, image_row(answer.size, answer.shares, answer.mean_confidence), facts, answer.remark)
