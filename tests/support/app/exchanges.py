"""Requests over HTTP and over a bare socket, and what must be in their answers."""

from __future__ import annotations

import gc
import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import psutil
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.types import Send

from app.serving.service import Service
from tests.support.images import Pixels, encode, make_photo, open_image
from tests.support.polling import HANG_S, wait_until

PHOTO = encode(make_photo(90, 130))


def open_files() -> int:
    """The number of this process's open files, without what former tests have left to the garbage collector."""
    gc.collect()
    return psutil.Process().num_fds()


def service_of(client: TestClient) -> Service:
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    return service


def post(
    client: TestClient, data: bytes = PHOTO, *, field: str = "file", headers: dict[str, str] | None = None, **query: Any
) -> Any:
    return client.post("/segment", files={field: ("photo", data)}, params=query, headers=headers or {})


def pixels(body: bytes) -> Pixels:
    return np.asarray(open_image(body))


def assert_problem(response: Any, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in problem["detail"]


def assert_idle(service: Service) -> None:
    """Soon nothing is kept: no request in flight, tile, reservation or memory, no user of a model."""

    def usage() -> tuple[int, ...]:
        users, sides = sum(model.users for model in service.registry.models.values()), (service.admission, service.background)
        held = [amount for side in sides for amount in (side.queued_tiles, len(side.places), side.used_bytes)]
        return service.in_flight, *held, users

    wait_until(lambda: not any(usage()), lambda: f"in flight, tiles, reservations, bytes, users: {usage()}")


def head(length: int = len(PHOTO), *lines: str, path: str = "/segment") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines, "", ""]).encode()


@contextmanager
def connect(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Waits for the next byte or the end; whether it is the end."""
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


async def respond(send: Send, status: int, body: bytes) -> None:
    """The answer of an app that a test writes."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def answer_on(connection: socket.socket) -> http.client.HTTPResponse:
    """The next answer, its body still unread."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response


def samples(client: TestClient) -> list[Sample]:
    """What `/metrics` tells."""
    return [sample for family in text_string_to_metric_families(client.get("/metrics").text) for sample in family.samples]


def metric(client: TestClient, name: str) -> float:
    """The value of a metric without labels."""
    return next(sample.value for sample in samples(client) if sample.name == name)


def rejections(client: TestClient) -> dict[str, float]:
    """The images that were not segmented, by reason, of each reason that there was."""
    counts = {sample.labels["reason"]: sample.value for sample in samples(client) if sample.name == "segment_rejected_total"}
    return {reason: count for reason, count in counts.items() if count}


def count_of(client: TestClient, status: int, route: str = "/segment", method: str = "POST") -> float:
    """How many such answers the metrics tell of."""
    labels = {"method": method, "route": route, "status": str(status)}
    counts = (each.value for each in samples(client) if each.name == "segment_requests_total" and each.labels == labels)
    return next(counts, 0.0)
