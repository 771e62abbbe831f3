"""Who holds what while a job runs: requests wait for nothing of the background, and it keeps what it has."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.support.app.exchanges import assert_idle, service_of
from tests.support.app.jobs import submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import fcn_serve

REQUESTS = 9


LARGE = encode(make_photo(2100, 2000, seed=5), "JPEG")


def test_photos_of_a_job_hold_no_place_turn_worker_or_memory_of_requests_and_one_large_photo_is_in_work(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(jobs_dir=tmp_path) as client, ThreadPoolExecutor(1) as pool:
        service, workers = service_of(client), service_of(client).workers.pids
        requests, background = service.admission, service.background
        with hold_model(service) as hold:
            submit_photos(client, {"a.jpg": LARGE, "b.jpg": LARGE}, output="zip", side="native")
            wait_until(lambda: hold.entry.is_set() and bool(background.large.waiting))
            assert (requests.used_bytes, requests.queued_tiles, len(requests.places)) == (0, 0, 0)
            assert (len(background.large.working), len(background.small.working)) == (1, 0)
            assert service.workers.pids == workers
            answer = pool.submit(client.post, "/segment", content=LARGE)
            wait_until(lambda: bool(requests.large.working))
        assert answer.result(HANG_S).status_code == 200
        wait_until(lambda: not background.places)
        assert_idle(service)


@pytest.mark.long
def test_requests_of_12_megapixels_take_at_most_twice_their_time_beside_a_job_of_two_photos_of_92(tmp_path: Path) -> None:
    photo, huge = encode(make_photo(3000, 4000), "JPEG"), tmp_path / "huge.jpg"
    Image.new("RGB", (9600, 9600), (90, 120, 60)).save(huge, "JPEG", quality=60)
    weights, folder = Path("voc-fcn8s-mobilenet-v2"), tmp_path / "jobs"
    with fcn_serve(weights, tmp_path, tile=512, threads=0, jobs_dir=folder) as service:

        def median() -> float:
            seconds = []
            for _ in range(REQUESTS):
                start = time.monotonic()
                answer = service.post(photo)
                assert answer.status_code == 200, answer.text
                seconds.append(time.monotonic() - start)
            return statistics.median(seconds)

        service.post(photo)
        alone, files = median(), [("file", ("a.jpg", huge.read_bytes()))] * 2
        job = httpx.post(f"{service.url}/jobs?output=zip&side=native", files=files, timeout=HANG_S).headers["location"]
        wait_until(lambda: httpx.get(service.url + job).json()["status"] == "running")
        time.sleep(5)  # until its first photo is decoded
        assert median() <= 2 * alone
        assert httpx.get(service.url + job).json()["status"] == "running"
