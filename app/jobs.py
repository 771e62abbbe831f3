"""One request's way through the corridor, stage by stage: from an image's bytes to the answer's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from app.engine import Engine
from app.engine_errors import Cancelled
from app.pools import Pools, Slot
from app.tickets import Ticket
from imaging.answer import Answer, Rendering
from imaging.decoding import Limits, decode, peek_size, read_size
from model.predictor import Predictor
from model.segmentation import Options, Segmentation, plan_image, segment
from model.tiling import TilePlan

Pixels = npt.NDArray[np.uint8]
AT_ONCE_BYTES = 1 << 20  # of a file, for its digest as well


@dataclass
class Job:
    """One request: what came, what is wanted, and what it took, in seconds a stage."""

    data: bytes
    options: Options
    rendering: Rendering
    deadline: float
    model: str | None = None
    corridor: Corridor | None = None
    plan: TilePlan | None = None
    ticket: Ticket | None = None
    cancelled: bool = False
    stages: dict[str, float] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    tag: str = ""
    admitted: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started

    @property
    def admitted_to(self) -> Corridor:
        """The corridor that let it in."""
        if self.corridor is None:
            raise Cancelled("the request was not let in")
        return self.corridor

    @property
    def megapixels(self) -> float:
        return self.size[0] * self.size[1] / 1e6


class Corridor:
    """What takes jobs through: a network's facts, the engine that runs it, and the limits of an image."""

    def __init__(self, predictor: Predictor, engine: Engine, limits: Limits, pools: Pools) -> None:
        self.predictor = predictor
        self.manifest = predictor.manifest
        self.engine = engine
        self.limits = limits
        self.pools = pools
        self._jobs = 0
        self._empty = threading.Condition()

    def enter(self) -> None:
        """Counts a job that is on its way, until `leave`."""
        with self._empty:
            self._jobs += 1

    def leave(self) -> None:
        with self._empty:
            self._jobs -= 1
            self._empty.notify_all()

    def retire(self) -> None:
        """Waits for the jobs on their way, then ends the engine; no job may enter any more."""
        with self._empty:
            self._empty.wait_for(lambda: not self._jobs)
        self.engine.stop()

    def peek(self, job: Job) -> bool:
        """Whether the event loop itself may `admit` it; its size is known then. Raises `ImageTooLarge`."""
        if len(job.data) <= AT_ONCE_BYTES:
            with job.stage("decode"):
                job.size = peek_size(job.data, self.limits) or job.size
        return any(job.size)

    def admit(self, job: Job) -> None:
        """Reads the image's header and takes its place in the engine, before anything is decoded.

        Raises the errors of imaging and of the engine.
        """
        if not any(job.size):
            with job.stage("decode"):
                job.size = read_size(job.data, self.limits)
        job.rendering.check(job.size)
        job.plan = plan_image(job.size, job.options, self.manifest.preprocessing.side)
        job.ticket = self.engine.admit(len(job.plan), job.deadline)
        job.admitted = time.perf_counter()

    def hand_over(self, job: Job, answer: Future[bytes]) -> None:
        """Processes an admitted job on a thread for its kind; what comes of it goes to `answer`, until that is cancelled."""
        tiles = len(job.plan) if job.plan else 0
        threads = self.pools.of(job.megapixels, tiles, lone=tiles == 1 and self.engine.runs_placed)
        threads.start(answer, partial(self.process, job))

    def process(self, job: Job) -> bytes:
        """The answer's bytes of an admitted job; blocks, so it runs on a request thread. Raises as `admit` does."""
        with self.pools.slot(job.megapixels, job.deadline) as slot:
            job.stages["queue"] = time.perf_counter() - job.admitted
            self._check(job)
            photo, result = self._segment(job, slot)
            with job.stage("encode"):
                identity, tiling = self.predictor.weights.identity, result.plan.describe()
                return Answer.of(result, self.manifest.labels, identity, tiling, photo).encode(job.rendering)

    def finish(self, job: Job) -> None:
        """Gives the job's place back; for every admitted job, whatever became of it."""
        if job.ticket:
            self.engine.release(job.ticket, done="encode" in job.stages)

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        if job.ticket:
            self.engine.cancel(job.ticket)

    def _check(self, job: Job) -> None:
        if job.ticket is None or job.cancelled:
            raise Cancelled("the request was cancelled before its turn")
        self.engine.check(job.ticket)

    def _segment(self, job: Job, slot: Slot) -> tuple[Pixels | None, Segmentation]:
        ticket, plan, labels = job.ticket, job.plan, self.manifest.labels
        assert ticket is not None
        assert plan is not None
        with job.stage("decode"):
            image = decode(job.data, self.limits, plan.size)
        temperature = (self.manifest.temperature or 1.0) if job.rendering.needs_confidence else None
        with job.stage("inference"), self.engine.device_errors():
            result = segment(
                image, plan, lambda tiles: self.engine.run(ticket, tiles, slot), num_classes=len(labels),
                grid=self.predictor.grid, size=job.size, temperature=temperature,
                probabilities=job.rendering.needs_probabilities, check=lambda: self._check(job),
            )  # fmt: skip
        job.stages["queue"] += ticket.queue_seconds
        job.stages["inference"] -= ticket.queue_seconds
        return self._photo(job, image), result

    def _photo(self, job: Job, image: Pixels) -> Pixels | None:
        """The whole photo, where the answer shows it; what was decoded may be a reduced one."""
        if not job.rendering.needs_photo:
            return None
        if image.shape[:2] == job.size:
            return image
        with job.stage("decode"):
            return decode(job.data, self.limits)
