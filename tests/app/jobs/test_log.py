"""What a job's message and the log say of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.app.exchanges import PHOTO
from tests.support.app.jobs import ended, submit_photos
from tests.support.app.services import Serve


def test_photos_that_failed_are_counted_and_lines_name_the_job_and_its_sender(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = {"a.png": PHOTO, "b.png": PHOTO[:300], "c.png": PHOTO[:200]}
    with caplog.at_level(logging.INFO, "segment"), serve(jobs_dir=tmp_path, api_keys="ann:one") as client:
        client.headers["X-API-Key"] = "one"
        id = submit_photos(client, photos, output="jsonl")
        assert ended(client, id)["message"] == "2 of 3 photos failed; the result says why for each"
    fields = {record.getMessage(): record.fields for record in caplog.records if getattr(record, "fields", {}).get("job") == id}
    sender = {"key": "ann", "client": "testclient"}
    sent, start, end = fields["request"], fields["job started"], fields["job ended"]
    assert all(sender.items() <= each.items() for each in (sent, start, end))
    assert (sent["path"], sent["status"], sent["files"]) == ("/jobs", 201, 3)
    assert sent["bytes"] > sum(map(len, photos.values()))
    assert (end["status"], end["images"], end["failed"]) == ("successful", 3, 2)
    assert end["seconds"] >= 0
