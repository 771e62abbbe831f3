"""Photos of a job: that cannot be segmented at once, or never; and what is kept at a turn's end."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.api.jobs import photo_task
from app.serving import job_photos
from app.serving.jobs.job import WORK, Job, upload_path
from app.serving.photos import Failure, Outcome
from imaging.object_facts import image_row
from model.inference.errors import WorkerFailed
from model.inference.processes.blob import INLINE_BYTES, Blob
from tests.support.app.exchanges import PHOTO, rejections, service_of
from tests.support.app.jobs import result_of, submit_photos
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S


class Attempts:
    """Outcomes with these reasons for a 503, one after the other; without a reason, an answer."""

    def __init__(self, *reasons: str | None) -> None:
        self.reasons = list(reasons)
        self.count = 0

    async def __call__(self) -> Outcome:
        self.count += 1
        if reason := self.reasons.pop(0):
            failure = Failure({}, reason, {}, ValueError())  # type: ignore[arg-type]
            return Outcome(0, "a", ".json", 503, {"retry_after": 0}, image_row(), failure=failure)
        return Outcome(0, "a", ".png", 200, {}, image_row())


def status_after(attempts: Attempts) -> int:
    return asyncio.run(job_photos.repeated(attempts)).status


@pytest.mark.parametrize("reason", ["worker", "device_memory"])
def test_a_photo_whose_worker_or_device_fails_each_time_is_a_failure_of_its_own(reason: str) -> None:
    attempts = Attempts(*[reason] * 9)
    assert (status_after(attempts), attempts.count) == (503, job_photos.MOST_TRIES)


def test_a_photo_waits_while_the_service_is_full_and_survives_a_worker_that_ends() -> None:
    attempts = Attempts(*["full"] * 9, "worker", "deadline", "worker", None)
    assert status_after(attempts) == 200


def test_a_photo_for_which_the_service_never_has_room_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_photos, "JOB_S", 0.0)
    assert status_after(Attempts("full", None)) == 503


def test_a_photo_that_is_tried_again_counts_once_and_only_if_it_has_no_answer(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(jobs_dir=tmp_path) as client:
        segment, failures = service_of(client).segment, [WorkerFailed("it ended")] * 2

        async def fails_first(*arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return await segment(*arguments)

        monkeypatch.setattr(service_of(client), "segment", fails_first)
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))
        assert (failures, rejections(client)) == ([], {})
        failures.extend(WorkerFailed("it ended") for _ in range(job_photos.MOST_TRIES))
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))
        assert rejections(client) == {"worker": 1}


def test_a_photo_that_is_being_kept_as_the_turn_ends_is_kept(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, keep = threading.Event(), job_photos._keep

    def keep_late(folder: Path, outcome: Outcome) -> None:
        assert outcome.index == 0 or end.wait(HANG_S)
        keep(folder, outcome)

    def tell(_: float) -> bool:
        end.set()
        return False

    monkeypatch.setattr(job_photos, "_keep", keep_late)
    (tmp_path / "work").mkdir()
    for index in range(2):
        upload_path(tmp_path, index).write_bytes(PHOTO)
    job_photos.write_names(tmp_path, ["a", "b"])
    with serve() as client:
        service = service_of(client)
        model, portal = service.registry.get(), client.portal
        job = Job("a", "", "a", "zip", {}, model.name, "")
        assert portal
        counts = portal.call(job_photos.segment_photos, service, partial(photo_task, service), job, tmp_path, model, tell)
    assert counts == {"images": 2, "failed": 0}


def test_a_large_answer_is_read_outside_of_the_event_loop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, read = set[int](), Blob.read

    def noted(blob: Blob, count: int, start: int = 0) -> bytes:
        if blob.length > INLINE_BYTES:
            threads.add(threading.get_ident())
        return read(blob, count, start)

    with serve() as client:
        assert client.portal
        monkeypatch.setattr(Blob, "read", noted)
        photo = encode(make_photo(900, 900), "JPEG")
        assert client.post("/segment/batch?mask=array", files={"file": ("a.jpg", photo)}).text.count('"status":200') == 1
        assert threads
        assert client.portal.call(threading.get_ident) not in threads


def test_the_folder_of_a_job_with_many_photos_is_not_listed_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has two files for each of up to 10,000, so that a list for each were square: 48 ms at 20,000 files."""
    (tmp_path / WORK).mkdir()
    for name in ("scandir", "listdir"):
        monkeypatch.delattr(os, name)
    job_photos._keep(tmp_path, Outcome(0, "a", ".png", 200, {}, image_row()))
    assert job_photos.part_of(tmp_path, 0).is_file()
