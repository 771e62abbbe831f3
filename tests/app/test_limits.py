"""What is refused because it is too much or too late: bytes, pixels, tiles, the queue and the deadline."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.engine_errors import Cancelled
from app.jobs import Job
from app.service import Service
from imaging.answer import Rendering
from tests.app.asking import PHOTO, assert_problem, post
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo


def test_limits_of_bytes_pixels_and_tiles_are_413_that_name_them(serve: Serve) -> None:
    with serve(max_upload_mb=0.02, max_megapixels=0.01, max_queued_tiles=4) as client:
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        assert_problem(post(client, encoded(noise)), 413, "0.02 MB")
        chunks = iter([bytes(15_000), bytes(15_000)])
        assert_problem(client.post("/segment", content=chunks), 413, "0.02 MB")
        assert_problem(post(client, encoded(np.zeros((110, 110, 3), np.uint8))), 413, "0.01 megapixels")
        assert_problem(post(client, encoded(np.zeros((50, 50, 3), np.uint8)), side=400), 413, "tiles", "at most 4")
        assert post(client, encoded(np.zeros((50, 50, 3), np.uint8))).status_code == 200


def test_a_deadline_that_passes_is_504(serve: Serve) -> None:
    with serve(request_timeout_s=0.001) as client:
        assert_problem(post(client, side=2000), 504, "smaller image")
        assert client.get("/health/live").status_code == 200


def test_a_full_queue_is_503_with_a_time_to_come_back(serve: Serve) -> None:
    with serve(max_queued_tiles=3) as client:
        engine = client.app.state.service.engine  # type: ignore[attr-defined]
        ticket = engine.admit(3, engine.clock() + 60)
        response = post(client)
        assert_problem(response, 503, "3 tiles are queued and at most 3")
        assert int(response.headers["retry-after"]) >= 1
        engine.release(ticket)
        assert post(client).status_code == 200


def test_while_a_huge_image_is_worked_on_small_ones_are_taken_and_a_second_huge_one_is_not(serve: Serve) -> None:
    with serve() as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        for _ in range(3):
            assert post(client).status_code == 200
        admission = service.engine.admission
        admission._busy_s, admission._done = 10.0, 50.0
        ticket = service.engine.admit(700, service.deadline())
        assert post(client).status_code == 200
        assert_problem(post(client, encoded(make_photo(1000, 1000)), side="native"), 503, "too near the deadline")
        service.engine.release(ticket)


def test_a_full_queue_refuses_before_the_body_is_read(serve: Serve) -> None:
    with serve(max_queued_tiles=4) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        ticket = service.engine.admit(4, service.deadline())
        assert_problem(post(client, b"no image"), 503, "4 tiles are queued and at most 4")
        service.engine.release(ticket)
        assert_problem(post(client, b"no image"), 415)
        service.in_flight = 4
        assert_problem(post(client), 503, "4 requests are waiting")
        service.engine.admission.retry_after = lambda requests: 10 * requests  # type: ignore[method-assign]
        assert post(client).headers["retry-after"] == "40"
        service.in_flight = 0
        assert post(client).status_code == 200


def test_an_image_is_let_in_by_its_header_alone(serve: Serve) -> None:
    with serve(max_queued_tiles=4) as client:
        damaged = encoded(make_photo(400, 400))[:500]
        assert_problem(post(client, damaged, side="native"), 413, "makes 36 tiles and at most 4 are taken; give a smaller side")
        assert_problem(post(client, damaged), 422, "damaged")
        assert client.get("/health").json()["queued_tiles"] == 0


def test_a_cancelled_job_is_neither_decoded_nor_run(client: TestClient, service: Service) -> None:
    assert service.engine
    job = Job(PHOTO, service.options(side="native"), Rendering(), service.deadline())
    service.admit(job)
    assert service.engine.queued_tiles > 0
    service.cancel(job)
    with pytest.raises(Cancelled):
        job.admitted_to.process(job)
    assert "decode" in job.stages
    assert "inference" not in job.stages
    service.finish(job)
    assert service.engine.queued_tiles == 0
