"""`fcn-serve` as a process: readiness, slow and broken clients, many clients, and how it stops."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.gate import Gate
from app.main import create_app
from app.server import SWITCH_S, YOUNG_OBJECTS, DrainingServer, serve
from app.settings import Settings
from model.labels import numbered_labels
from model.preprocessing import Preprocessing
from model.weights_file import Manifest, save_weights
from tests.conftest import encoded, free_port, make_photo, narrow_net, randomise, wait_until_ready


@contextmanager
def fcn_serve(weights: Path, folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and its address; it logs into `folder/log`."""
    port = free_port()
    given = {"WEIGHTS": str(weights), "PORT": str(port), "DEVICE": "cpu", "DTYPE": "float32", "TILE": "96", "THREADS": "1"}
    environment = os.environ | {f"SEGMENT_{name}": value for name, value in (given | settings).items()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "app.main"], env=environment, stderr=log, stdout=log)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    with fcn_serve(narrow_file, folder, UPLOAD_TIMEOUT_S="1", ROOT_PATH="/seg") as (process, address):
        wait_until_ready(address, process, 90)
        yield address
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert any(line["message"] == "ready" for line in lines)


def test_the_process_is_set_for_many_threads_and_refusals_are_at_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    before, objects, seen, served = sys.getswitchinterval(), gc.get_threshold(), [], []

    def run(server: DrainingServer) -> None:
        seen.append((sys.getswitchinterval(), gc.get_threshold()[0]))
        served.append(server.config.http)

    monkeypatch.setattr(DrainingServer, "run", run)
    try:
        serve(create_app(Settings()))
    finally:
        sys.setswitchinterval(before)
        gc.set_threshold(*objects)
    assert seen == [(pytest.approx(SWITCH_S, abs=1e-6), YOUNG_OBJECTS)]
    assert before > 10 * SWITCH_S
    assert issubclass(served[0], Gate)


def segment(url: str, data: bytes) -> bytes:
    response = httpx.post(f"{url}/segment", files={"file": data}, timeout=120)
    assert response.status_code == 200, response.text
    return response.content


def test_sixteen_clients_at_once_get_the_answers_that_they_get_alone(url: str) -> None:
    images = [encoded(make_photo(40 + 13 * i, 200 - 9 * i, seed=i)) for i in range(16)]
    alone = [segment(url, image) for image in images]
    assert len(set(alone)) == 16
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            together = list(pool.map(lambda image: segment(url, image), images))
            assert together == alone


def test_500_images_of_64_clients_get_their_own_answers(url: str) -> None:
    images = [encoded(make_photo(33 + i % 71, 150 - i % 97, seed=i)) for i in range(500)]
    with (
        ThreadPoolExecutor(64) as pool,
        httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=64)) as client,
    ):
        answers = list(pool.map(lambda image: client.post("/segment", content=image), images))
    assert {answer.status_code for answer in answers} == {200}
    alone = [segment(url, image) for image in images[::5]]
    assert len(set(alone)) > 90
    assert [answer.content for answer in answers[::5]] == alone
    assert len({answer.content for answer in answers}) > 450


def test_health_is_answered_while_a_large_image_is_segmented(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        body = encoded(make_photo(1500, 2000), "JPEG")
        large = pool.submit(httpx.post, f"{url}/segment?side=2000", files={"file": body}, timeout=120)
        times = []
        while not large.done():
            started = time.monotonic()
            assert httpx.get(f"{url}/health/live", timeout=30).status_code == 200
            times.append(time.monotonic() - started)
        assert large.result().status_code == 200
    assert len(times) > 5
    assert max(times) < 1


def test_an_upload_that_stalls_is_408(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert "application/problem+json" in answer
    assert "within 1 s" in answer


def test_a_client_that_goes_away_leaves_nothing_behind(url: str) -> None:
    body = encoded(make_photo(1500, 2000), "JPEG")
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /segment?side=2000 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + body)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + body[:100])
    end = time.monotonic() + 60
    while (health := httpx.get(f"{url}/health").json())["requests_in_flight"] or health["queued_tiles"]:
        assert time.monotonic() < end, health
        time.sleep(0.05)
    assert segment(url, encoded(make_photo(50, 50)))


def test_metrics_count_what_was_asked(url: str) -> None:
    segment(url, encoded(make_photo(50, 50)))
    text = httpx.get(f"{url}/metrics").text
    assert 'segment_requests_total{method="POST",route="/segment",status="200"}' in text
    assert "segment_ready 1.0" in text
    assert "segment_queued_tiles 0.0" in text


def test_on_sigterm_a_request_in_flight_is_answered_and_new_ones_are_refused(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path) as (process, url), ThreadPoolExecutor() as pool:
        wait_until_ready(url, process, 90)
        with httpx.Client(base_url=url, timeout=60) as other:
            large = pool.submit(
                httpx.post, f"{url}/segment?side=2000", files={"file": encoded(make_photo(1500, 2000))}, timeout=120
            )
            while not other.get("/health").json()["queued_tiles"]:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            while other.get("/health/live").status_code == 200 and other.get("/health/ready").status_code == 200:
                time.sleep(0.01)
            refused = other.post("/segment", files={"file": encoded(make_photo(40, 40))})
        assert refused.status_code == 503
        assert "draining" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert large.result().status_code == 200
        assert process.wait(30) == 0


def test_a_drain_takes_no_longer_than_it_may(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, DRAIN_S="6", UPLOAD_TIMEOUT_S="60") as (process, url):
        wait_until_ready(url, process, 90)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as stalled:
            stalled.sendall(b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            assert httpx.get(f"{url}/health/live", timeout=30).status_code == 200
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            assert process.wait(60) == 0
        assert 6 <= time.monotonic() - started < 10.5


def test_before_it_is_ready_it_is_live_and_refuses_images(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, TILE="2048") as (process, url):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                response = httpx.post(f"{url}/segment", files={"file": encoded(make_photo(40, 40))})
                break
            except httpx.TransportError:
                time.sleep(0.02)
        assert response.status_code == 503
        assert "starting" in response.json()["detail"]
        assert httpx.get(f"{url}/health/live").status_code == 200
        assert httpx.get(f"{url}/health").status_code == 503
        assert process.poll() is None


def test_damaged_weights_end_the_process_with_status_1_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"not a weights file")
    with fcn_serve(path, tmp_path) as (process, _):
        assert process.wait(60) == 1
    assert "is not a safetensors file" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TILE", "500", "tile must be a multiple of 32, got 500"),
        ("PORT", "http", "SEGMENT_PORT"),
        ("WEIGHTS", "nothing", "no weights file 'nothing'"),
        ("DEVICE", "cuda:99", "SEGMENT_DEVICE"),
        ("OVERLAP", "0.7", "SEGMENT_OVERLAP"),
        ("MAX_UPLOAD_MB", "inf", "SEGMENT_MAX_UPLOAD_MB"),
        ("TILE", "1000000", "tile must be at most 4096"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_clear_message(name: str, value: str, words: str) -> None:
    environment = os.environ | {f"SEGMENT_{name}": value}
    result = subprocess.run([sys.executable, "-m", "app.main"], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_sighup_reads_the_weights_again_and_drops_no_request(narrow_file: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    shutil.copy(narrow_file, weights)
    data = encoded(make_photo(70, 101))
    with fcn_serve(weights, tmp_path) as (process, url), ThreadPoolExecutor(4) as pool:
        wait_until_ready(url, process, 90)
        before = httpx.get(f"{url}/models").json()[0]["sha256"]
        net = randomise(narrow_net(), seed=7)
        labels = numbered_labels(["a", "b", "c", "d"])
        save_weights(weights, net, Manifest(net.architecture, labels, Preprocessing(side=(64, 128)), "Apache-2.0"))
        asking = [pool.submit(lambda: [segment(url, data) for _ in range(60)]) for _ in range(4)]
        process.send_signal(signal.SIGHUP)
        assert sum(len(each.result(120)) for each in asking) == 240
        end = time.monotonic() + 60
        while httpx.get(f"{url}/models").json()[0]["sha256"] == before:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [entry["name"] for entry in httpx.get(f"{url}/classes").json()] == ["a", "b", "c", "d"]
        assert process.poll() is None
    assert any(json.loads(line)["message"] == "reloaded" for line in (tmp_path / "log").read_text().splitlines())
