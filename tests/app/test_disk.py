"""A form's files that find no room on disk."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from app.api.forms import SPOOL_BYTES
from model.inference.processes.blob import INLINE_BYTES
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, open_files, rejections, service_of
from tests.support.app.services import Serve
from tests.support.disks import disk_for_files_of
from tests.support.images import encode, make_photo
from tests.support.polling import wait_until

pytestmark = pytest.mark.usefixtures("one_worker")


def test_a_batch_that_finds_no_room_on_disk_is_503_and_leaves_nothing(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as client:
        files = [("file", ("a", PHOTO)), ("file", ("b", bytes(5 << 20)))]
        before = open_files()
        with disk_for_files_of((5 << 20) - 100):  # the last bytes do not fit
            response = client.post("/segment/batch", files=files)
        assert_problem(response, 503, "no room on disk")
        assert response.headers["retry-after"]
        assert "could not be kept on disk" in caplog.text
        assert "unexpected error" not in caplog.text
        assert_idle(service_of(client))
        wait_until(lambda: open_files() <= before)
        assert rejections(client) == {"disk": 1}
        assert client.get("/health/live").status_code == 200
        assert client.post("/segment/batch", files=files).status_code == 200


def test_files_of_a_batch_lie_on_disk_beyond_64_kib_and_those_of_segment_in_memory(serve: Serve) -> None:
    with serve() as client, disk_for_files_of(0):
        for size, status in ((SPOOL_BYTES, 200), (SPOOL_BYTES + 1, 503)):
            assert client.post("/segment/batch", files={"file": ("a", bytes(size))}).status_code == status
        assert_problem(client.post("/segment", files={"file": ("a", bytes(1 << 20))}), 415)
        assert_problem(client.post("/segment", files={"file": ("a", bytes(2 << 20))}), 503, "no room for the image")
    assert SPOOL_BYTES == 64 << 10


def too_many_files(*_: object) -> int:
    raise OSError(errno.EMFILE, "too many open files")


def test_a_batch_for_whose_images_no_further_file_may_be_open_is_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    large = encode(make_photo(300, 400), compress_level=0)
    assert len(large) > SPOOL_BYTES
    with serve() as client:
        monkeypatch.setattr("app.api.forms.os.dup", too_many_files)
        assert_problem(client.post("/segment/batch", files={"file": ("a", large)}), 503, "too many files are open")
        assert_idle(service_of(client))
        monkeypatch.undo()
        assert client.post("/segment", content=large).status_code == 200
    assert "unexpected error" not in caplog.text


def test_an_answer_for_which_no_further_file_may_be_open_is_503_and_keeps_its_worker(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    noise = encode(np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8))
    parameters = {"format": "overlay", "side": 96}
    with serve() as client:
        service = service_of(client)
        assert len(client.post("/segment", params=parameters, content=noise).content) > INLINE_BYTES
        pids = service.workers.pids
        monkeypatch.setattr("model.inference.processes.worker.anonymous_file", too_many_files)
        response = client.post("/segment", params=parameters, content=noise)
        assert_problem(response, 503, "there is no room for the answer: too many open files")
        assert client.post("/segment", content=noise).status_code == 200  # an answer that needs no file
        assert_idle(service)
        monkeypatch.undo()
        assert client.post("/segment", params=parameters, content=noise).status_code == 200
        assert service.workers.pids == pids
    assert "unexpected error" not in caplog.text


def test_a_batch_with_more_files_than_may_be_open_is_413(serve: Serve) -> None:
    large = encode(make_photo(300, 400), compress_level=0)
    with serve() as client:
        service = service_of(client)
        service.admission.most_files = 3
        response = client.post("/segment/batch", files=[("file", ("a", large))] * 4)
        assert_problem(response, 413, "4 or more images above 64 KiB", "send fewer at once")
        assert client.post("/segment/batch", files=[("file", ("a", large))] * 3 + [("file", ("b", PHOTO))]).status_code == 200
        assert_idle(service)
