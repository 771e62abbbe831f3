"""Jobs as a client sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app.serving.jobs.job import Job
from tests.support.app.exchanges import service_of
from tests.support.app.services import hold_model
from tests.support.model.doubles import Hold
from tests.support.polling import wait_until

OPEN = ("accepted", "running")
FIRST_TILES = 12  # of the scene; after them some rows are done, and some are not


def stored_jobs(root: Path) -> list[Job]:
    """The jobs in a folder."""
    return [Job.load(path.parent) for path in root.glob("*/job.json")]


def submit(client: TestClient, content: bytes, **query: str) -> str:
    """The id of a job for this body."""
    response = client.post("/jobs", params=query, content=content)
    assert response.status_code == 201, response.text
    document = response.json()
    assert response.headers["location"] == f"/jobs/{document['jobID']}"
    return str(document["jobID"])


@contextmanager
def begun(client: TestClient, scene: bytes) -> Iterator[tuple[str, Hold]]:
    """The id of a job for this scene, once a part of it is done, and the hold where the others of its tiles wait."""
    with hold_model(service_of(client)) as hold:
        hold.close(FIRST_TILES)
        id = submit(client, scene, output="tif")
        wait_until(lambda: status_of(client, id)["progress"] > 0)
        yield id, hold


def submit_photos(client: TestClient, photos: dict[str, bytes], **query: str) -> str:
    """The id of a job for a form with these files, by name."""
    response = client.post("/jobs", params=query, files=[("file", item) for item in photos.items()])
    assert response.status_code == 201, response.text
    return str(response.json()["jobID"])


def status_of(client: TestClient, id: str) -> dict[str, Any]:
    document: dict[str, Any] = client.get(f"/jobs/{id}").json()
    return document


def ended(client: TestClient, id: str) -> dict[str, Any]:
    """The state of the job, once it has ended."""
    wait_until(lambda: status_of(client, id)["status"] not in OPEN, lambda: str(status_of(client, id)))
    return status_of(client, id)


def result_of(client: TestClient, id: str) -> bytes:
    """The result of the job, once it is there."""
    assert ended(client, id)["status"] == "successful", status_of(client, id)
    return bytes(client.get(f"/jobs/{id}/results").content)
