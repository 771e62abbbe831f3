"""Two services behind the proxies of `deploy/`: restarted in turns or one full they fail no request, killed only their own."""

from __future__ import annotations

import re
import select
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from model.inference.processes.scene_process import PLAN_TIMEOUT_S
from tests.support.deploy.proxies import ALL_PROXIES, PROXIES, Proxy, balanced
from tests.support.images import camera_photo as photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import Process, fcn_serve

SETTINGS = {"lame_duck_s": 6, "drain_s": 60, "tile": 512}
CLIENTS = 4
SHARE = 0.98  # of answers that are 200 while one instance has room
REPEATED_BYTES = 6_000_000  # of a request that HAProxy repeats, at most


def each(proxies: dict[str, Proxy]) -> pytest.MarkDecorator:
    def mark(program: str) -> pytest.MarkDecorator:
        return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")

    return pytest.mark.parametrize("name", [pytest.param(name, marks=mark(proxies[name].program)) for name in proxies])


each_proxy = each(PROXIES)


def has_answered(service: Process) -> bool:
    """Whether it has answered an image since its start."""
    text = httpx.get(f"{service.url}/metrics", timeout=HANG_S).text
    return any(
        sample.value > 0
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "segment_requests_total" and sample.labels["route"] == "/segment"
    )


class Load:
    """Clients that post a photo again and again, or a batch, half of them on connections of their own each time."""

    def __init__(self, url: str, data: bytes = b"", count: int = 1) -> None:
        self.url, self.data, self.count = url, data or photo(), count
        self.statuses: list[int] = []  # 0: no answer
        self._stop = threading.Event()

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._ask, index % 2 == 0) for index in range(CLIENTS)]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.result(HANG_S)
        self._pool.shutdown()

    def wait_for_more(self, count: int = 20) -> list[int]:
        """The statuses of the next answers, more than `count`."""
        begin = len(self.statuses)
        wait_until(lambda: len(self.statuses) > begin + count)
        return self.statuses[begin:]

    def _ask(self, keep_alive: bool) -> None:
        with httpx.Client(timeout=HANG_S, headers={} if keep_alive else {"Connection": "close"}) as client:
            while not self._stop.is_set():
                try:
                    if self.count == 1:
                        answer = client.post(f"{self.url}/segment", content=self.data)
                    else:
                        answer = client.post(f"{self.url}/segment/batch", files=[("file", self.data)] * self.count)
                    self.statuses.append(answer.status_code)
                except httpx.TransportError:
                    self.statuses.append(0)


def share(statuses: list[int]) -> float:
    """How much of the answers is 200."""
    return statuses.count(200) / len(statuses)


def start(stack: ExitStack, weights: Path, folder: Path, **settings: object) -> Process:
    """A service that ends with the stack; its log is in the folder."""
    folder.mkdir(exist_ok=True)
    return stack.enter_context(fcn_serve(weights, folder, **SETTINGS, **settings))


@each(ALL_PROXIES)
@pytest.mark.parametrize(
    ("size", "count"),
    [
        pytest.param((150, 220, 4), 1, id="5 kB", marks=pytest.mark.long),
        pytest.param((900, 1200, 24), 1, id="0.5 MB"),
        pytest.param((2000, 3100, 85), 1, id="5 MB", marks=pytest.mark.long),
        pytest.param((2600, 3700, 110), 1, id="8 MB", marks=pytest.mark.long),
        pytest.param((900, 1200, 24), 4, id="a batch of 2 MB", marks=pytest.mark.long),
        pytest.param((2000, 3100, 85), 3, id="a batch of 15 MB", marks=pytest.mark.long),
    ],
)
def test_while_one_instance_has_room_requests_are_answered_whether_the_other_refuses_is_full_or_killed(
    name: str, size: tuple[int, int, int], count: int, narrow_file: Path, tmp_path: Path
) -> None:
    """HAProxy gives a client the refusal of a body that is too large for its buffer."""
    least = 0.0 if name == "haproxy" and count * len(photo(*size)) > REPEATED_BYTES else SHARE
    with ExitStack() as stack:
        full = start(stack, narrow_file, tmp_path / "full", max_queued_tiles=1)
        free = start(stack, narrow_file, tmp_path / "free")
        url = stack.enter_context(balanced(name, full, free, tmp_path))
        with Load(url, photo(*size), count) as load:
            assert share(load.wait_for_more(25)) >= least  # it refuses whenever it has an image
            with Load(full.url) as others:
                others.wait_for_more()
                assert share(load.wait_for_more(25)) >= least
            assert 503 in others.statuses
            assert set(load.statuses) <= {200, 503}
            full.signal(signal.SIGKILL)
            full.process.wait(HANG_S)
            assert sum(status != 200 for status in load.wait_for_more(25)) <= CLIENTS
            assert set(load.wait_for_more(20)) == {200}


@pytest.mark.long
@each_proxy
def test_two_clients_with_all_their_connections_leave_room_for_a_third(name: str, narrow_file: Path, tmp_path: Path) -> None:
    """They send a part of a large photo, and wait; the third sends one of 5 MB."""
    large = photo(2000, 3100, 85)
    with ExitStack() as stack:
        service = start(stack, narrow_file, tmp_path / "only")
        url = stack.enter_context(balanced(name, service, service, tmp_path))
        address = "127.0.0.1", int(url.rpartition(":")[2])
        head = f"POST /segment HTTP/1.1\r\nHost: h\r\nContent-Length: {len(large)}\r\n\r\n".encode()
        held = []
        for client in ("127.0.0.2", "127.0.0.3"):
            for _ in range(64):
                held.append(stack.enter_context(socket.create_connection(address, HANG_S, source_address=(client, 0))))
                held[-1].sendall(head + large[:200_000])
        assert httpx.post(f"{url}/segment", content=large, timeout=HANG_S).status_code == 200
        assert not select.select(held, [], [], 0)[0]  # they wait still


@pytest.mark.long
@each_proxy
def test_if_no_instance_has_room_clients_learn_when_to_ask_again(name: str, narrow_file: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        services = [start(stack, narrow_file, tmp_path / each, max_queued_tiles=1) for each in ("first", "second")]
        url = stack.enter_context(balanced(name, *services, tmp_path))
        with Load(url) as load:
            load.wait_for_more()
            wait_until(lambda: 503 in load.statuses)
            answers = [httpx.post(f"{url}/segment", content=photo(), timeout=HANG_S) for _ in range(20)]
        assert set(load.statuses) == {200, 503}
        refusals = [answer for answer in answers if answer.status_code != 200]
        assert all(int(refusal.headers["retry-after"]) and refusal.json()["status"] == 503 for refusal in refusals)


@pytest.mark.long
@each_proxy
def test_two_services_restarted_in_turns_under_load_fail_no_request_and_one_that_is_killed_its_own_alone(
    name: str, narrow_file: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        services = [start(stack, narrow_file, tmp_path / service) for service in ("first", "second")]
        url = stack.enter_context(balanced(name, *services, tmp_path))
        with Load(url) as load:
            for index in (0, 1, 0):
                load.wait_for_more()
                old = services[index]
                old.signal(signal.SIGTERM)
                assert old.process.wait(HANG_S) == 0
                services[index] = start(stack, narrow_file, old.log.parent, port=old.port)
                wait_until(partial(has_answered, services[index]))  # the proxy has seen the one that came back
            load.wait_for_more()
            assert set(load.statuses) == {200}
            services[0].signal(signal.SIGKILL)
            services[0].process.wait(HANG_S)
            load.wait_for_more(200)
            failures = sum(status != 200 for status in load.statuses)
            load.wait_for_more(100)
        assert failures <= CLIENTS
        assert sum(status != 200 for status in load.statuses) == failures


@pytest.mark.long
@each_proxy
def test_jobs_are_found_at_the_instance_that_took_them_and_are_not_missing_while_it_is_down(
    name: str, narrow_file: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        names = ("first", "second")
        services = [start(stack, narrow_file, tmp_path / each, jobs_dir=tmp_path / each / "jobs") for each in names]
        url = f"{stack.enter_context(balanced(name, *services, tmp_path))}/jobs"
        clients = [{}, *({"X-API-Key": f"key-{number}"} for number in range(7))]

        def ask(path: str, headers: dict[str, str]) -> httpx.Response:
            return httpx.get(f"{url}/{path}", headers=headers, timeout=HANG_S)

        for headers in clients:
            sent = httpx.post(f"{url}?output=jsonl", files={"file": photo()}, headers=headers, timeout=HANG_S)
            headers["id"] = sent.json()["jobID"]
        for headers in clients:
            wait_until(lambda headers=headers: ask(headers["id"], headers).json()["status"] == "successful")
            assert b'"classes"' in ask(f"{headers['id']}/results", headers).content
            key = headers.get("X-API-Key", "")
            for form in ({"Authorization": f"bearer {key}"}, {"Token": key, "Authorization": "bearer other"}) if key else ():
                assert ask(headers["id"], form).status_code == 200
        services[0].signal(signal.SIGKILL)
        services[0].process.wait(HANG_S)
        assert {ask(headers["id"], headers).status_code // 100 for headers in clients} == {2, 5}


@each_proxy
def test_a_proxy_waits_longer_than_the_service(name: str) -> None:
    settings = Settings()
    text = PROXIES[name].text
    of_requests, of_jobs = map(int, re.findall(r"(?:timeout server|proxy_read_timeout) +(\d+)s", text))
    assert settings.request_timeout_s < of_requests
    assert of_jobs > PLAN_TIMEOUT_S


def test_nginx_takes_bodies_as_large_as_the_service() -> None:
    settings = Settings()
    text = PROXIES["nginx"].text
    one, several, job = (int(megabytes) * (1 << 20) for megabytes in re.findall(r"client_max_body_size (\d+)m", text))
    assert settings.max_upload_mb * 1e6 < one
    assert settings.max_batch_mb * 1e6 < several
    assert settings.job_upload_mb * 1e6 < job
