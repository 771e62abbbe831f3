"""The work of a job on photos: each goes the way of a batch's, and its answer is kept until all are done."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from app.serving.admission import Reservation
from app.serving.jobs.job import WORK, Job, upload_path
from app.serving.jobs.runner import Tell
from app.serving.photos import Outcome, PhotoTask, Upload, counted, segment_photo
from app.serving.registry import Model
from app.serving.results import WRITERS, result_names
from app.serving.service import JOB_PHOTOS, JOB_S, Service
from common.whole_file import whole_file, write_file
from model.inference.errors import Cancelled, WorkersStopped
from model.inference.processes.blob import Blob

NAMES = "names.json"
BUSY, PAUSE_S = 503, 1.0  # an image that gets this status is tried again after so many seconds
MOST_TRIES = 3  # of an image that gets it because its worker or the device fails, and not because the service is full
OWN_FAULTS = ("worker", "device_memory")


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Keeps what the client calls the photos of a job. There may be megabytes, so that no `Job` has them.

    Each name has a line. One call for all of them would hold the interpreter, and with it the event loop, until it is done.
    """
    write_file(folder / WORK / NAMES, "[" + ",\n".join(map(json.dumps, names)) + "]", follow=False)


async def segment_photos(
    service: Service, task_of: Callable[[Job], PhotoTask], job: Job, folder: Path, model: Model, tell: Tell
) -> Mapping[str, int] | None:
    """Writes the result of a job's photos. Those whose answers are kept are not segmented again. task_of: what a job asks.

    A photo that cannot be read has a problem in the result. Returns how many `images` there are, and `failed`; None if the
    turn is over: then those in work are done, and those that wait for a place are not. Raises `WorkersStopped` if the model is
    replaced, `OSError`, and as `task_of`.
    """
    task = task_of(job)
    names, distinct, missing = await asyncio.to_thread(_read_work, folder, job)
    indices, count = iter(missing), len(names) - len(missing)
    attempts = dict[asyncio.Task[Any] | None, Reservation]()  # at photos that have no outcome yet

    async def attempt(index: int) -> Outcome:
        path = upload_path(folder, index)
        body = Blob(b"", os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), path.stat().st_size)
        with Reservation(service.background, job.client) as reservation:
            reservation.callback(body.close)
            attempts[asyncio.current_task()] = reservation
            upload = Upload(body, names[index], is_on_disk=True)
            return await segment_photo(service, task, index, upload, distinct[index], reservation)

    async def work() -> None:
        nonlocal count
        for index in indices:
            outcome = counted(service, await repeated(partial(attempt, index)))
            del attempts[asyncio.current_task()]
            if service.registry.models.get(job.model) is not model:
                raise WorkersStopped("the model was replaced")
            await asyncio.to_thread(_keep, folder, outcome)
            count += 1
            if not tell(count / len(names)):
                for other, reservation in attempts.items():
                    if other and not reservation.is_in_work:
                        other.cancel()
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(JOB_PHOTOS):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the runner knows each kind
    if count < len(names):
        return None
    end = threading.Event()
    writing = asyncio.create_task(asyncio.to_thread(_write_result, folder, job, len(names), end))
    try:
        return await asyncio.shield(writing)
    finally:
        end.set()
        await asyncio.wait([writing])


def _read_work(folder: Path, job: Job) -> tuple[Sequence[str], Sequence[str], list[int]]:
    """What the client calls the photos, what the result does, and the indices of those without a kept outcome."""
    with (folder / WORK / NAMES).open(encoding="ascii") as lines:
        names = [name for line in lines for name in json.loads("[" + line.strip("[],\n") + "]")]
    missing = [index for index in range(len(names)) if not _is_kept(part_of(folder, index))]
    return names, result_names(names, job.output), missing


async def repeated(attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """The outcome of a photo, once the service has room for it, or has failed it `MOST_TRIES` times."""
    tries, end = 0, time.monotonic() + JOB_S
    while True:
        outcome = await attempt()
        tries += outcome.failure is not None and outcome.failure.reason in OWN_FAULTS
        if outcome.status != BUSY or tries >= MOST_TRIES or time.monotonic() >= end:
            return outcome
        await asyncio.sleep(outcome.facts.get("retry_after", PAUSE_S))


def part_of(folder: Path, index: int) -> Path:
    """The file of a photo's outcome: a line of JSON with what is known of it, then its answer's bytes."""
    return upload_path(folder, index).with_suffix(".part")


def _keep(folder: Path, outcome: Outcome) -> None:
    facts = json.dumps(vars(outcome) | {"body": None, "failure": None}).encode()
    with whole_file(part_of(folder, outcome.index), folder / WORK, follow=False) as path, path.open("wb") as file:
        file.writelines((facts, b"\n", outcome.body))  # a copy of all would hold the interpreter


def _is_kept(part: Path) -> bool:
    """Whether a photo's outcome is there. After a power failure, the system may have its name without its bytes."""
    return part.exists() and part.stat().st_size > 0


def _write_result(folder: Path, job: Job, images: int, end: threading.Event) -> dict[str, int]:
    """Writes all kept outcomes, in their order. Returns how many `images` there are, and `failed`; nothing if it has to end."""
    writer, failed = WRITERS[job.output](), 0
    with suppress(Cancelled), whole_file(folder / job.results[job.output], follow=False) as path, path.open("wb") as file:
        for index in range(images):
            if end.is_set():
                raise Cancelled("the job's work has ended")
            with part_of(folder, index).open("rb") as part:
                outcome = Outcome(**json.loads(part.readline()) | {"body": part.read()})
            failed += outcome.is_problem
            file.write(writer.add(outcome))
        file.writelines(writer.rest())
        return {"images": images, "failed": failed}
    return {}
