"""The work of a job on photos: each goes the way of a batch's, and its answer is kept until all are done."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, replace
from pathlib import Path

from app.api.batch import Outcome, Sender, coco_document, distinct_names, json_lines, segment_one, zip_file
from app.api.body import Upload
from app.api.query import Query
from app.serving.admission import Reservation
from app.serving.clients import Client
from app.serving.jobs.job import Job, upload_path
from app.serving.registry import Model
from app.serving.service import JOB_PHOTOS, Service
from model.inference.errors import WorkersStopped
from model.inference.processes.blob import Blob
from model.whole_file import whole_file, write_file

PARTS = "parts"
FORMATS = {"zip": "png", "coco": "coco", "jsonl": "json"}
"""The format of an image's answer by the job's output, unless the request names one."""
WRITERS = {"zip": zip_file, "coco": coco_document, "jsonl": json_lines}
BUSY, PAUSE_S = 503, 1.0  # an image that gets this status is tried again after so many seconds


async def segment_photos(service: Service, root: Path, job: Job, model: Model, tell: Callable[[float], None]) -> None:
    """Writes the result of a job's photos. Those whose answers are kept are not segmented again.

    A photo that cannot be read has a problem in the result. Raises `WorkersStopped` if the model is replaced, and `OSError`.
    """
    folder = root / job.id
    (folder / PARTS).mkdir(exist_ok=True)
    names = job.files if job.output == "zip" else distinct_names(job.files)
    query = {"format": FORMATS[job.output], **job.parameters, "model": job.model}
    missing = [index for index in range(len(names)) if not part_of(folder, index).exists()]
    indices, count = iter(missing), len(names) - len(missing)
    loop = asyncio.get_running_loop()
    sender = Sender(job.id, {"job": job.id}, loop.create_future(), is_background=True)

    async def work() -> None:
        nonlocal count
        for index in indices:
            outcome = await _segment(service, sender, query, job, index, names[index], folder)
            if service.registry.models.get(job.model) is not model:
                raise WorkersStopped("the model was replaced")
            await asyncio.to_thread(_keep, folder, outcome)
            count += 1
            tell(count / len(names))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(JOB_PHOTOS):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the runner knows each kind
    with whole_file(folder / job.result, follow=False) as partial, partial.open("wb") as file:
        async for piece in WRITERS[job.output](_outcomes(folder, len(names))):
            await asyncio.to_thread(file.write, piece)


async def _segment(service: Service, sender: Sender, query: Query, job: Job, index: int, name: str, folder: Path) -> Outcome:
    """The outcome of a photo, once the service has room for it."""
    path = upload_path(folder, index)
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        upload = Upload(Blob(b"", descriptor, path.stat().st_size), job.files[index], is_on_disk=True)
        with Reservation(service.admission, Client(lambda: 0, lambda: None), job.client) as reservation:
            reservation.callback(upload.body.close)
            outcome = await segment_one(service, sender, query, index, name, upload, reservation)
        if outcome.status != BUSY:
            return outcome
        await asyncio.sleep(outcome.facts.get("retry_after", PAUSE_S))


def part_of(folder: Path, index: int) -> Path:
    """The file with what is known of a photo's outcome; its answer's bytes lie beside it."""
    return folder / PARTS / f"{index:06}.json"


def _keep(folder: Path, outcome: Outcome) -> None:
    part = part_of(folder, outcome.index)
    write_file(part.with_suffix(".body"), outcome.body, follow=False)
    facts = asdict(replace(outcome, body=b"", problem=None)) | {"body": None}
    write_file(part, json.dumps(facts), follow=False)  # last: from now on the outcome is kept


async def _outcomes(folder: Path, count: int) -> AsyncGenerator[Outcome, None]:
    """The kept outcomes, in the order of the photos."""
    for index in range(count):
        part = part_of(folder, index)
        facts, body = await asyncio.to_thread(lambda part=part: (part.read_bytes(), part.with_suffix(".body").read_bytes()))  # type: ignore[misc]
        yield Outcome(**json.loads(facts) | {"body": body})
