"""The work of a job on photos: each goes the way of a batch's, and its answer is kept until all are done."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from app.api.batch import Outcome, Sender, coco_document, json_lines, segment_one, zip_file
from app.api.body import Upload
from app.api.forms import distinct_names
from app.api.segment import JOB_S
from app.serving.admission import Reservation
from app.serving.clients import Client
from app.serving.jobs.job import WORK, Job, upload_path
from app.serving.jobs.runner import Tell
from app.serving.registry import Model
from app.serving.service import JOB_PHOTOS, Service
from model.inference.errors import WorkersStopped
from model.inference.processes.blob import Blob
from model.whole_file import whole_file, write_file

FORMATS = {"zip": "png", "coco": "coco", "jsonl": "json"}
"""The format of an image's answer by the job's output, unless the request names one."""
WRITERS = {"zip": zip_file, "coco": coco_document, "jsonl": json_lines}
NAMES = "names.json"
BUSY, PAUSE_S = 503, 1.0  # an image that gets this status is tried again after so many seconds
MOST_TRIES = 3  # of an image that gets it because its worker or the device fails, and not because the service is full
OWN_FAULTS = ("worker", "device_memory")


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Keeps what the client calls the photos of a job. There may be megabytes, so that no `Job` has them."""
    write_file(folder / WORK / NAMES, json.dumps(names), follow=False)


async def segment_photos(service: Service, job: Job, folder: Path, model: Model, tell: Tell) -> Mapping[str, int] | None:
    """Writes the result of a job's photos. Those whose answers are kept are not segmented again.

    A photo that cannot be read has a problem in the result. Returns how many `images` there are, and `failed`; None if the
    turn is over: then those in work are done, and those that wait for a place are not. Raises `WorkersStopped` if the model is
    replaced, and `OSError`.
    """
    names, missing = await asyncio.to_thread(_read_work, folder)
    distinct = names if job.output == "zip" else await asyncio.to_thread(distinct_names, names)
    query = {"format": FORMATS[job.output], **job.parameters, "model": job.model}
    indices, count = iter(missing), len(names) - len(missing)
    loop, attempts = asyncio.get_running_loop(), dict[asyncio.Task[Any] | None, Reservation]()
    sender = Sender(job.id, {"job": job.id}, loop.create_future(), is_background=True)

    async def attempt(index: int) -> Outcome:
        path = upload_path(folder, index)
        body = Blob(b"", os.open(path, os.O_RDONLY | os.O_CLOEXEC), path.stat().st_size)
        with Reservation(service.background, Client(lambda: 0, lambda: None), job.client) as reservation:
            reservation.callback(body.close)
            attempts[asyncio.current_task()] = reservation
            upload = Upload(body, names[index], is_on_disk=True)
            return await segment_one(service, sender, query, index, distinct[index], upload, reservation)

    async def work() -> None:
        nonlocal count
        for index in indices:
            outcome = await repeated(partial(attempt, index))
            if service.registry.models.get(job.model) is not model:
                raise WorkersStopped("the model was replaced")
            await asyncio.to_thread(_keep, folder, outcome)
            count += 1
            if not tell(count / len(names)):
                for task, reservation in attempts.items():
                    if task and task is not asyncio.current_task() and not reservation.is_in_work:
                        task.cancel()
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(JOB_PHOTOS):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the runner knows each kind
    if count < len(names):
        return None
    counts = {"images": len(names), "failed": 0}
    with whole_file(folder / job.result, follow=False) as path, path.open("wb") as file:
        async for piece in WRITERS[job.output](_outcomes(folder, counts)):
            await asyncio.to_thread(file.write, piece)
    return counts


def _read_work(folder: Path) -> tuple[list[str], list[int]]:
    """What the client calls the photos, and the indices of those without a kept outcome."""
    names = json.loads((folder / WORK / NAMES).read_bytes())
    return names, [index for index in range(len(names)) if not part_of(folder, index).exists()]


async def repeated(attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """The outcome of a photo, once the service has room for it, or has failed it `MOST_TRIES` times."""
    tries, end = 0, time.monotonic() + JOB_S
    while True:
        outcome = await attempt()
        tries += outcome.problem is not None and outcome.problem.reason in OWN_FAULTS
        if outcome.status != BUSY or tries >= MOST_TRIES or time.monotonic() >= end:
            return outcome
        await asyncio.sleep(outcome.facts.get("retry_after", PAUSE_S))


def part_of(folder: Path, index: int) -> Path:
    """The file of a photo's outcome: a line of JSON with what is known of it, then its answer's bytes."""
    return upload_path(folder, index).with_suffix(".part")


def _keep(folder: Path, outcome: Outcome) -> None:
    facts = json.dumps(vars(outcome) | {"body": None, "problem": None}).encode()
    write_file(part_of(folder, outcome.index), facts + b"\n" + outcome.body, folder / WORK, follow=False)


async def _outcomes(folder: Path, counts: dict[str, int]) -> AsyncGenerator[Outcome, None]:
    """The kept outcomes of the `images`, in their order. Counts those that `failed`."""
    for index in range(counts["images"]):
        facts, _, body = (await asyncio.to_thread(part_of(folder, index).read_bytes)).partition(b"\n")
        outcome = Outcome(**json.loads(facts) | {"body": body})
        counts["failed"] += outcome.is_problem
        yield outcome
