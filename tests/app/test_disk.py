"""A form's files that find no room on disk."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.api.forms import SPOOL_BYTES
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, open_files, samples, service_of
from tests.support.app.services import Serve
from tests.support.polling import wait_until

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.usefixtures("one_worker")


@contextmanager
def disk_for_files_of(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("capacity", [0, (5 << 20) - 100], ids=["none fits", "the last bytes do not fit"])
def test_a_batch_that_finds_no_room_on_disk_is_503_and_leaves_nothing(
    serve: Serve, capacity: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as client:
        files = [("file", ("a", PHOTO)), ("file", ("b", bytes(5 << 20)))]
        before = open_files()
        with disk_for_files_of(capacity):
            response = client.post("/segment/batch", files=files)
        assert_problem(response, 503, "no room on disk")
        assert response.headers["retry-after"]
        assert "could not be kept on disk" in caplog.text
        assert "unexpected error" not in caplog.text
        assert_idle(service_of(client))
        wait_until(lambda: open_files() <= before)
        samples_above_0 = [sample for sample in samples(client) if sample.name == "segment_rejected_total" and sample.value]
        assert [(sample.labels["reason"], sample.value) for sample in samples_above_0] == [("disk", 1)]
        assert client.get("/health/live").status_code == 200
        assert client.post("/segment/batch", files=files).status_code == 200


@pytest.mark.parametrize("capacity", [0, (5 << 20) - 100], ids=["none fits", "the last bytes do not fit"])
def test_instances_of_vertex_ai_that_find_no_room_on_disk_are_503_and_leave_nothing(
    serve: Serve, capacity: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(platform="vertex_ai") as client:
        instances = [base64.b64encode(data).decode() for data in (PHOTO, bytes(5 << 20), bytes(1 << 20))]
        before = open_files()
        with disk_for_files_of(capacity):
            response = client.post("/predict", json={"instances": instances})
        assert_problem(response, 503, "no room on disk")
        assert response.headers["retry-after"]
        assert "unexpected error" not in caplog.text
        assert_idle(service_of(client))
        wait_until(lambda: open_files() <= before)
        assert_problem(client.post("/predict", json={"instances": instances}), 415, "instances[1]")


def test_files_of_a_batch_lie_on_disk_beyond_64_kib_and_those_of_segment_in_memory(serve: Serve) -> None:
    with serve() as client, disk_for_files_of(0):
        for size, status in ((SPOOL_BYTES, 200), (SPOOL_BYTES + 1, 503)):
            assert client.post("/segment/batch", files={"file": ("a", bytes(size))}).status_code == status
        assert_problem(client.post("/segment", files={"file": ("a", bytes(1 << 20))}), 415)
        assert_problem(client.post("/segment", files={"file": ("a", bytes(2 << 20))}), 503, "no room for the image")
    assert SPOOL_BYTES == 64 << 10
