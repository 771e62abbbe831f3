"""The photos of one request, or of a job: each gets an outcome of its own, its answer or why it has none."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from app.serving.admission import Reservation
from app.serving.errors import NeverFits
from app.serving.service import Service
from app.telemetry import Reason
from imaging.object_facts import image_row
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import ImageRequest

AHEAD = 4  # images of one request in work at once: enough to keep the runtime busy
DONE = 200


@dataclass(frozen=True)
class Upload:
    """An image file of a request or a job.

    body: its bytes; a reservation closes it. name: as its sender calls it, without folders. is_on_disk: whether it is a file
    there.
    """

    body: Blob
    name: str = "image"
    is_on_disk: bool = False


class Failure(NamedTuple):
    """Why an image has no answer. document: as HTTP answers it, with its `status`. reason: for the metrics, if they count it.

    facts: `retry_after`, the seconds until a new try makes sense, if it does. error: what to raise if it fails the whole.
    """

    document: Mapping[str, Any]
    reason: Reason | None
    facts: dict[str, int]
    error: Exception


@dataclass(frozen=True)
class PhotoTask:
    """What is asked of photos, and for whom. model: its name; None for the default.

    explain: says what an error is to a client, and logs one that nobody expected with the fields that it gets. is_background:
    as those of a job are.
    """

    options: Options
    model: str | None
    log_fields: Mapping[str, Any]
    explain: Callable[[Exception, Mapping[str, Any]], Failure]
    is_background: bool = False

    def options_of(self, name: str) -> Options:
        """Those of the photo of this name, which COCO documents contain."""
        rendering = self.options.rendering
        return replace(self.options, rendering=replace(rendering, name=name)) if rendering.format == "coco" else self.options


@dataclass(frozen=True)
class Outcome:
    """The result of one image: in `body` the answer's bytes, or the JSON of the problem. All else can be written as JSON.

    status: of HTTP; 200 for an answer. facts: what headers say of a single image, as `Service.segment` gives them; of a
    failed one `retry_after`, in seconds, where there is such a header. row: what `results.jsonl` says besides, as `image_row`
    gives it. failure: None once it was kept.
    """

    index: int
    file: str
    suffix: str
    status: int
    facts: Mapping[str, Any]
    row: Mapping[str, Any]
    body: bytes = b""
    failure: Failure | None = None

    @property
    def heading(self) -> dict[str, Any]:
        """The image's place, file name and status, and the facts."""
        return {"index": self.index, "file": self.file, "status": self.status, **self.facts}

    @property
    def is_problem(self) -> bool:
        return self.status != DONE


Outcomes = AsyncGenerator[Outcome, None]


async def photo_outcomes(
    service: Service, task: PhotoTask, uploads: Sequence[Upload], names: Sequence[str], own: Reservation, facts: dict[str, Any]
) -> Outcomes:
    """Yields the outcomes in the order of the uploads, with these names of their files. Works on up to `AHEAD` at once.

    From now on each upload has a reservation of its own instead of the request's, which is closed once its outcome is sent.
    facts: gets how many `failed`, and the `sizes` of the others.
    """
    reservations, places = service.admission.split(own, len(uploads)), asyncio.Semaphore(AHEAD)

    async def work(index: int) -> Outcome:
        await places.acquire()
        return counted(service, await segment_photo(service, task, index, uploads[index], names[index], reservations[index]))

    works = deque((asyncio.create_task(work(index)), reservation) for index, reservation in enumerate(reservations))
    try:
        for upload, reservation in zip(uploads, reservations, strict=True):
            reservation.callback(upload.body.close)
            if upload.is_on_disk:
                reservation.add_file()
            reservation.set_body(0 if upload.is_on_disk else upload.body.length)
        while works:
            photo, reservation = works[0]
            outcome = await photo
            facts["failed"] += outcome.is_problem
            if not outcome.is_problem:
                facts["sizes"] = f"{facts['sizes']} {outcome.row['width']}x{outcome.row['height']}".lstrip()
            yield outcome
            reservation.close()
            works.popleft()
            places.release()
    finally:
        for photo, reservation in works:
            photo.cancel()
            photo.add_done_callback(lambda _, reservation=reservation: reservation.close())  # type: ignore[misc]


async def segment_photo(
    service: Service, task: PhotoTask, index: int, upload: Upload, name: str, reservation: Reservation
) -> Outcome:
    """Works on one image. name: of its file in the result. If it fails, the reservation is closed."""
    rendering, most_mb = task.options.rendering, service.settings.max_upload_mb
    log_fields = {**task.log_fields, "index": index, "format": rendering.format}
    try:
        if upload.body.length > most_mb * 1e6:
            advice = "send a smaller one; the operator can raise SEGMENT_MAX_UPLOAD_MB"
            raise NeverFits(f"the file is larger than {most_mb:g} MB; {advice}")
        reservation.take_place(service.deadline())
        reservation.set_body(upload.body.length)
        image = ImageRequest(
            upload.body, task.options_of(upload.name), service.limits, log_fields=log_fields, is_background=task.is_background
        )
        answer, facts = await service.segment(image, task.model, reservation)
        read = partial(answer.body.read, answer.body.length)  # there may be hundreds of megabytes
        data = read() if answer.body.descriptor is None else await asyncio.to_thread(read)
        answer.body.close()
        row = image_row(answer.size, answer.shares, answer.mean_confidence)
        return Outcome(index, name, rendering.suffix, DONE, facts, row, data)
    except Exception as error:  # an unexpected error of one image must not end the others
        failure = task.explain(error, log_fields)
    reservation.close()
    facts = ({"box": None} if rendering.format == "cutout" else {}) | failure.facts
    status, body = failure.document["status"], json_bytes(failure.document)
    return Outcome(index, name, ".problem.json", status, facts, image_row(), body, failure)


def counted(service: Service, outcome: Outcome) -> Outcome:
    """Counts an outcome without an answer in the metrics, and returns the outcome. Of several tries, the last one counts."""
    if outcome.failure and outcome.failure.reason:
        service.metrics.rejections.labels(outcome.failure.reason).inc()
    return outcome


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """The value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
