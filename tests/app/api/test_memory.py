"""The memory budget over HTTP: uploads, images and answers that it refuses, and that everything is given back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from app.api import body as request_body
from app.api.body import RequestBody
from app.serving.admission import Admission
from app.serving.clients import Client, Clients
from app.settings import Settings
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from model.inference.views import Quality
from tests.support.app.exchanges import PHOTO, answer_on, assert_idle, assert_problem, connect, head, post, service_of
from tests.support.app.services import Serve, module_client
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http

BUDGET_MB = 440  # 110 of them for bodies, 330 for work and answers
LARGE = bytes(20_000_000)


client = module_client(memory_mb=BUDGET_MB, upload_timeout_s=600)


@pytest.fixture(scope="module")
def port(client: TestClient) -> Iterator[int]:
    with over_http(client) as port:
        yield port


def test_uploads_are_refused_by_what_has_come_of_them_and_not_by_what_they_announce(
    client: TestClient, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "UPLOAD_GRACE_S", 600)
    service = service_of(client)
    with ExitStack() as stack:
        for _ in range(5):  # together they announce more than there is
            stack.enter_context(connect(port)).sendall(head(50_000_000) + PHOTO)
        wait_until(lambda: service.in_flight == 5 and service.admission.used_bytes >= 10 * len(PHOTO))
        assert post(client).status_code == 200
        first = stack.enter_context(connect(port))
        first.sendall(head(50_000_000) + bytes(45_000_000))
        wait_until(lambda: service.admission.used_bytes >= 90_000_000)
        refusal = client.post("/segment", content=LARGE)
        assert_problem(refusal, 503, "bodies use", "try again later")
        assert refusal.headers["retry-after"] == "1"
        assert post(client).status_code == 200
    assert_idle(service)


def test_bodies_without_a_length_are_counted_as_well(client: TestClient) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield bytes(1_000_000)

    never = client.post("/segment", content=chunks(60))  # even alone
    assert_problem(never, 413, "MB of memory", "bodies may use at most 110 MB", "SEGMENT_MEMORY_MB")
    assert "retry-after" not in never.headers
    assert_problem(client.post("/segment", content=chunks(10)), 415)
    assert_idle(service_of(client))


def test_the_time_in_which_nobody_reads_a_body_is_not_the_sender_s(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a job's upload that waits for its turn. The sender's second piece comes a moment after it is asked for."""
    monkeypatch.setattr(request_body, "UPLOAD_GRACE_S", 1.0)
    pieces = iter((b"a", b"b", b""))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        piece = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def read() -> bytes:
        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [], "path": "/segment", "state": {}}
        service, received = service_of(client), b""
        own = Client(lambda: 0, lambda: None)
        with service.admission.acquire(own, "", service.deadline()) as reservation:
            scope["state"] = {"client": own, "reservation": reservation}
            async for chunk in RequestBody(Request(scope, receive), service, 1).chunks(lambda count: count):
                received += chunk
                await asyncio.sleep(1.2)
        return received

    assert asyncio.run(read()) == b"ab"


def test_an_upload_that_comes_too_slowly_is_408(client: TestClient, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "UPLOAD_GRACE_S", 0.3)
    for lines in ((), ("Content-Type: multipart/form-data; boundary=x",)):
        with connect(port) as connection:
            connection.sendall(head(1000, *lines) + b"--x\r\n")
            response = answer_on(connection)
            assert (response.status, response.getheader("connection")) == (408, "close")
            assert b"slower than 10 kB a second" in response.read()
    assert_idle(service_of(client))
    monkeypatch.setattr(request_body, "UPLOAD_GRACE_S", HANG_S)
    rest = HANG_S * request_body.LEAST_UPLOAD_RATE
    with connect(port) as connection:  # what came at first gives time for the rest
        connection.sendall(head(len(PHOTO) + rest) + PHOTO + bytes(rest - 1000))
        wait_until(lambda: service_of(client).admission.used_bytes > rest)
        monkeypatch.setattr(request_body, "UPLOAD_GRACE_S", 0.3)
        connection.sendall(bytes(1))
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(HANG_S)
        connection.sendall(bytes(999))
        assert answer_on(connection).status in (200, 422)
    assert_idle(service_of(client))


def test_an_image_that_could_never_be_worked_on_is_413_by_its_header(client: TestClient) -> None:
    large = encode(np.zeros((5000, 4000, 3), np.uint8), "PNG", compress_level=1)
    words = ("MB of memory", "send a smaller one", "the operator can raise SEGMENT_MEMORY_MB")
    assert_problem(client.post("/segment?format=overlay", content=large), 413, *words)
    assert client.post("/segment", content=encode(make_photo(2000, 2000), "JPEG")).status_code == 200
    assert_idle(service_of(client))


def test_a_side_that_enlarges_more_than_four_times_is_422(client: TestClient) -> None:
    words = "side may be up to 520 for an image of 130x90, got 521"
    assert_problem(client.post("/segment?side=521", content=PHOTO), 422, words)
    assert client.post("/segment?side=520", content=PHOTO).status_code == 200


def test_a_long_answer_goes_out_in_pieces_and_is_held_until_the_last(client: TestClient, port: int) -> None:
    image = encode(np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8))
    whole = client.post("/segment?format=overlay&side=96", content=image)
    assert int(whole.headers["content-length"]) == len(whole.content) > 9_000_000  # more than the system takes for a client
    service = service_of(client)
    with connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        connection.sendall(head(len(image), path="/segment?format=overlay&side=96") + image)
        wait_until(lambda: service.admission.used_bytes == len(whole.content))
        response = answer_on(connection)
        assert service.in_flight == 1
        assert response.read() == whole.content
    assert_idle(service)


def test_an_image_of_a_batch_that_never_has_memory_is_413(serve: Serve) -> None:
    with serve(memory_mb=250, max_upload_mb=100) as client:  # 62 of them for bodies
        answers = client.post("/segment/batch", files=[("file", ("large", bytes(65_000_000))), ("file", ("good.png", PHOTO))])
        lines = [json.loads(line) for line in answers.text.splitlines()]
        assert [(line["status"], line.get("retry_after")) for line in lines] == [(413, None), (200, None)]
        assert_idle(service_of(client))


@pytest.mark.parametrize(("progressive", "quality"), [(False, "standard"), (False, "high"), (True, "standard")])
def test_a_jpeg_of_a_hundred_megapixels_is_taken_on_a_machine_of_2_gib(
    openvino_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, progressive: bool, quality: Quality
) -> None:
    monkeypatch.setattr("app.settings.available_memory", lambda: 2 << 30)
    small = encode(make_photo(64, 64), "JPEG", progressive=progressive)
    start = small.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    large_header = small[:start] + (10_000).to_bytes(2, "big") * 2 + small[start + 4 :]
    segmenter = Segmenter(openvino_runtime)
    plan = segmenter.plan(large_header, Options(quality=quality))
    assert plan.size == (10_000, 10_000)
    memory = Settings().memory_bytes
    admission = Admission(max_queued_tiles=9, memory_bytes=memory, workers=1, large_places=1, clients=Clients())
    admission.check_limits(1, segmenter.memory_bytes(large_header, plan))
