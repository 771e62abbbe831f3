"""The service's state and lifecycle, and the path of a request from the image's bytes to the answer's bytes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from platform import python_version
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from app.serving.admission import Admission, Reservation
from app.serving.clients import Clients
from app.serving.errors import NotServing, QueueFull
from app.serving.jobs.job import STATUSES
from app.serving.jobs.store import JobStore
from app.serving.registry import Registry
from app.serving.watchdog import LEAST_STALL_S, Later, Watchdog
from app.settings import Settings
from app.telemetry import Metrics, Reason
from common.command_line import package_version
from imaging.decoding import Limits
from imaging.object_facts import object_facts
from model.inference.cores import available_memory, child_seconds, resident_memory
from model.inference.errors import DeadlinePassed
from model.inference.plan import Options
from model.inference.processes.protocol import Answer, ImageRequest, WorkerPlan
from model.inference.processes.work import work_on
from model.inference.processes.workers import Workers, worker_count
from model.inference.runtime import DeviceOutOfMemory, Runtime

log = logging.getLogger("segment")
DRAINING = "draining: the service is stopping"
LATE = "no answer within {:g} s; send a smaller image, or try again when the service is less busy"
JOB_PHOTOS = 2  # of jobs in work at once; of large ones, one
JOB_S = 3600.0  # from an image of a job to its answer


class Service:
    """Models, admission and threads. Its states are starting, ready, ending, draining, failed and stopped.

    `ending`: it will stop soon. It reports not ready, but still takes images until load balancers have noticed.
    `draining`: it takes no more images; requests in flight go on to their end.

    Only for the event loop, except `fail`, `stop` and `collect`, which any thread may call. Worker processes decode
    images and encode answers; the images' tiles go through the model's scheduler, whose threads run the network. Photos of
    jobs have workers and an admission of their own, the background: requests wait for nothing that it holds but one tile.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start_time = time.monotonic()
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.ending = False
        self.draining = False
        self.in_flight = 0
        self.metrics = Metrics(self)
        self.clients = Clients()
        self.registry = Registry(settings, self.metrics.batch, self.fail)
        self.limits = Limits(settings.max_megapixels, "scale it down; the operator can raise SEGMENT_MAX_MEGAPIXELS")
        self.jobs: JobStore | None = None
        self.workers, self.background_workers = (
            Workers(count, on_death=lambda reason: self.metrics.worker_deaths.labels(reason).inc(), on_failure=self.fail)
            for count in (worker_count(), JOB_PHOTOS)
        )
        memory_bytes = settings.memory_bytes // settings.memory_shares
        self.admission = Admission(
            max_queued_tiles=settings.max_queued_tiles, memory_bytes=memory_bytes, workers=self.workers.count,
            large_places=max(1, settings.cpu_threads // 2), clients=self.clients, timeout_s=settings.request_timeout_s,
        )  # fmt: skip
        self.background = Admission(
            max_queued_tiles=JOB_PHOTOS * settings.max_queued_tiles, memory_bytes=memory_bytes, workers=JOB_PHOTOS,
            large_places=1, clients=self.clients, timeout_s=settings.request_timeout_s,
        )  # fmt: skip
        stall_s = max(LEAST_STALL_S, 2 * settings.request_timeout_s)
        self.watchdog = Watchdog(self.registry.schedulers, self.fail, stall_s=stall_s)
        self._first_worker: asyncio.Task[None] | None = None

    async def start(self, later: Later | None = None) -> None:
        """Starts the workers and, in the background, loads and warms up the models. Health checks are answered meanwhile.

        `later` makes the event loop call a function. The watchdog uses it to check that the loop makes progress.
        """
        self.watchdog.later = later
        self.watchdog.start()
        self._first_worker = asyncio.create_task(self.workers.start())
        self.registry.start()

    async def stop(self) -> None:
        """Ends threads and workers. Does not wait for a load of models in progress: once it is done, they are stopped."""
        self.draining = True
        self.watchdog.stop()
        if self._first_worker:
            self._first_worker.cancel()
        await asyncio.gather(self.workers.stop(), self.background_workers.stop())
        await asyncio.to_thread(self.registry.stop)

    def fail(self, reason: str) -> None:
        """Marks the process as not live, because it cannot recover by itself, and calls `on_failure` to end it.

        Only the first call has an effect; its reason stays.
        """
        if self.failure:
            return
        self.failure = reason
        log.critical(reason)
        self.on_failure()

    async def segment(
        self,
        image: ImageRequest,
        model_name: str | None,
        reservation: Reservation,
        check: Callable[[str], None] = lambda _: None,
    ) -> tuple[Answer, dict[str, Any]]:
        """Segments the image with the model of this name; None for the default.

        check: is called with the answer's entity tag before the network runs. The work ends at once when the deadline passes
        (`DeadlinePassed`), when `check` raises, or when this call is cancelled. Closing the reservation closes the answer;
        until then the answer's bytes count as used.

        Returns the answer, and its facts for the client: `etag`, `remark` if there is one, and those of its object. Raises
        `UnknownModel`, `NotServing`, `NeverFits`, `QueueFull`, `InferenceError`s, and the errors of a `Worker` and of `check`.
        """
        facts = dict[str, Any]()

        def check_plan(plan: WorkerPlan) -> None:
            facts["etag"] = entity_tag(plan.sha256, image.options, model.segmenter.runtime)
            check(facts["etag"])

        deadline = time.monotonic() + JOB_S if image.is_background else self.deadline()
        limit, workers = asyncio.timeout_at(deadline), self.background_workers if image.is_background else self.workers
        try:
            async with limit:
                with self.registry.using(model_name) as model:
                    answer = await work_on(
                        image, workers=workers, scheduler=model.scheduler, runtime=model.pickled_runtime, deadline=deadline,
                        reservation=reservation, check=check_plan,
                    )  # fmt: skip
                reservation.callback(answer.body.close)
                reservation.release(answer.body.length)
        except TimeoutError as error:
            if not limit.expired():
                raise
            # without the traceback: its last frame has the task, which would keep this error, and so the image's memory
            raise DeadlinePassed(LATE.format(self.settings.request_timeout_s)) from error.with_traceback(None)
        except DeviceOutOfMemory as error:
            raise QueueFull(str(error), reason="device_memory") from error
        except MemoryError as error:
            log.error("out of memory: %s", error)
            raise QueueFull("the service's memory is full", reason="memory") from error
        finally:
            del limit  # breaks the cycle limit, task, error, frame, which would keep the image's memory
        self.metrics.count_segmentation(model.name, answer.seconds, answer.counts, answer.mean_confidence)
        remark = {"remark": answer.remark} if answer.remark else {}
        return answer, facts | remark | object_facts(image.options.rendering, answer.box, answer.object_pixels)

    def thread_failure(self, error: RuntimeError) -> NotServing:
        """Fails the service because a thread could not be started. Returns the error to raise."""
        self.fail(f"a thread could not be started: {error}")
        return NotServing(self.failure or str(error))

    def is_ending(self) -> bool:
        """Whether clients should open their next connection elsewhere."""
        return self.ending or self.draining

    @property
    def not_live(self) -> str | None:
        """Why the process cannot recover by itself, or None."""
        if self.failure:
            return self.failure
        return next(filter(None, (model.scheduler.problem for model in self.registry.models.values())), None)

    @property
    def not_ready(self) -> str | None:
        """Why no image should be sent here now, or None."""
        return self.refusal or (DRAINING if self.ending else self.registry.starting)

    def model_not_ready(self, name: str) -> str | None:
        """Why no image for the model of this name should be sent here now, or None. Raises `UnknownModel`."""
        problem = DRAINING if self.ending else None
        try:
            self.registry.get(name)
        except NotServing as error:
            problem = str(error)
        return self.refusal or problem

    @property
    def refusal(self) -> str | None:
        """Why no image is taken now, or None."""
        if self.draining:
            return self.failure or DRAINING
        if not self.registry.models:
            return self.not_live or self.registry.starting
        if not (self._first_worker and self._first_worker.done()):
            return self.not_live or "starting: the first worker process is being started"
        return self.not_live

    @property
    def refusal_reason(self) -> Reason:
        """The reason of `refusal` for the metrics. Only valid while there is a refusal."""
        if self.not_live:
            return "failed"
        return "draining" if self.draining else "starting"

    def collect(self) -> Iterator[Metric]:
        """The metrics of the present state, for a scrape. Any thread may call it. What the system does not tell is left out."""
        jobs, admission, resident, queue_s = self.jobs, self.admission, resident_memory(), self.admission.queue_seconds
        used_bytes = admission.used_bytes + self.background.used_bytes
        jobs_wait_s: float | None = 0.0
        jobs_bytes: int | None = 0
        job_counts: Mapping[str, int] = dict.fromkeys(STATUSES, 0)
        if jobs and jobs.is_loaded:
            jobs_wait_s, jobs_bytes, job_counts = jobs.longest_wait(), jobs.used_bytes(), jobs.counts()
        elif jobs:  # nobody knows; after a 0, all that failed long ago would seem to have failed now
            jobs_wait_s, jobs_bytes, job_counts = None, None, {}
        values: list[tuple[str, str, float | None]] = [
            ("segment_ready", "1 when ready", self.not_ready is None),
            ("segment_requests_in_flight", "Requests with images under way", self.in_flight),
            ("segment_queued_tiles", "Tiles admitted and not done, of small or of large images", admission.queued_tiles),
            ("segment_max_queued_tiles", "Most tiles admitted and not done, of each", self.settings.max_queued_tiles),
            ("segment_queue_seconds", "Seconds that the tiles admitted and not done take at the measured rate", queue_s),
            ("segment_request_timeout_seconds", "Most seconds from body to answer", self.settings.request_timeout_s),
            ("segment_memory_limit_bytes", "Memory that the process may use", available_memory()),
            ("segment_memory_budget_bytes", "Memory that requests may take together", self.settings.memory_bytes),
            ("segment_memory_taken_bytes", "Memory that requests are given now", used_bytes),
            (
                "segment_memory_resident_bytes",
                "Memory of the service and its workers, each page that they share counted once",
                resident,
            ),
            ("segment_jobs_bytes", "Bytes on the disk of all jobs", jobs_bytes),
            ("segment_jobs_max_bytes", "Most bytes on the disk of all jobs", self.settings.jobs_mb * 1e6 if jobs else 0.0),
            ("segment_jobs_wait_seconds", "Seconds that the oldest job which has not begun has waited", jobs_wait_s),
            ("segment_worker_cpu_seconds", "Processor time of workers, those that have ended included", child_seconds()),
        ]
        for name, description, value in values:
            if value is not None:
                family = CounterMetricFamily if name == "segment_worker_cpu_seconds" else GaugeMetricFamily
                yield family(name, description, value)
        by_status = GaugeMetricFamily("segment_jobs", "Jobs by status", labels=["status"])
        for status, count in job_counts.items():
            by_status.add_metric([status], count)
        yield by_status
        models = InfoMetricFamily("segment_model", "A model that is served", labels=["name"])
        for model in self.registry.models.values():
            facts = asdict(model.segmenter.runtime.identity) | {"device": model.segmenter.runtime.device}
            models.add_metric([facts.pop("name")], facts)
        yield models
        build = {"version": package_version(), "python": python_version()}
        yield InfoMetricFamily("segment_build", "What is installed", build)

    def deadline(self) -> float:
        """The deadline, on `time.monotonic`, of a request that starts now."""
        return time.monotonic() + self.settings.request_timeout_s


def entity_tag(image_sha256: str, options: Options, runtime: Runtime) -> str:
    """A tag that is equal for requests with equal answers, on processors of one kind. Else the answers may differ in a bit.

    It is weak, and a hash of the image, the options, the model's identity (name, weights, runtime, precision), the loaded file
    and this package's version.
    """
    facts = (image_sha256, options, runtime.identity, runtime.file_sha256, package_version())
    return f'W/"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'
