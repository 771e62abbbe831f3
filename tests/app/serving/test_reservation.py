"""Everything that a request holds is given back once, wherever its work fails."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.serving.admission import Admission
from app.serving.clients import Client, Clients
from model.inference.processes.blob import Blob
from tests.support.app.exchanges import assert_idle, service_of
from tests.support.app.services import module_client
from tests.support.images import encode, make_photo
from tests.support.open_files import anonymous_files
from tests.support.polling import wait_until
from tests.support.variants import long

PHOTO = encode(make_photo(90, 120, seed=3))
LARGE = encode(np.random.default_rng(4).integers(0, 256, (700, 900, 3), np.uint8))  # in a file, as its answer is
POINTS = [
    "app.serving.admission.Reservation.take_place",
    "app.serving.admission.Reservation.set_body",
    "app.serving.admission.Reservation.ask",
    "app.serving.admission.Reservation.set_plan",
    "app.serving.admission.Reservation.wait",
    "app.serving.admission.Reservation.release",
    "app.serving.lanes.Lane.begin",
    "app.serving.registry.Registry.using",
    "app.telemetry.Metrics.count_segmentation",
    "model.inference.processes.blob.Blob.of",
    "model.inference.processes.blob.Blob.read",
    "model.inference.processes.worker.Worker.plan",
    "model.inference.processes.worker.Worker.work",
    "model.inference.processes.protocol.parse_plan",
    "model.inference.processes.protocol.parse_tile",
    "model.inference.processes.protocol.parse_answer",
    "model.inference.processes.workers.Workers.claim",
    "model.inference.scheduler.Scheduler.submit",
]
FAILURES: list[tuple[type[BaseException], bytes]] = [(RuntimeError, PHOTO), (asyncio.CancelledError, LARGE)]


client = module_client()


def attribute(path: str) -> tuple[Any, str]:
    """The module or class that has what a dotted path names, and its name there."""
    owner, name = path.rsplit(".", 1)
    try:
        return importlib.import_module(owner), name
    except ModuleNotFoundError:
        module, kind = owner.rsplit(".", 1)
        return getattr(importlib.import_module(module), kind), name


@contextmanager
def failing(owner: Any, name: str, error: type[BaseException], *, after: bool) -> Iterator[list[object]]:
    """The first call of a function raises the error, before or after its work; the list gets an entry for each call."""
    original, calls = inspect.getattr_static(owner, name), list[object]()
    function = original.__func__ if isinstance(original, classmethod) else original

    def fail(is_due: bool) -> None:
        if is_due:
            calls.append(None)
            if len(calls) == 1:
                raise error("a failure of this test")

    def failing_call(*args: Any, **kwargs: Any) -> Any:
        fail(not after)
        result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            return failing_wait(result)
        fail(after)
        return result

    async def failing_wait(result: Any) -> Any:
        answer = await result
        fail(after)
        return answer

    setattr(owner, name, classmethod(failing_call) if isinstance(original, classmethod) else failing_call)
    try:
        yield calls
    finally:
        setattr(owner, name, original)


CASES = [(point, after, path) for point in POINTS for after in (True, False) for path in ("/segment", "/segment/batch")]


@pytest.mark.parametrize(("point", "after", "path"), [*CASES[::3], *long(*(case for case in CASES if case not in CASES[::3]))])
def test_a_failure_at_any_point_leaves_nothing(client: TestClient, point: str, after: bool, path: str) -> None:
    owner, name = attribute(point)
    before = anonymous_files()
    after = after and name not in ("of", "work")  # what a call makes has no owner before it returns
    for error, data in FAILURES:
        files = [("file", ("a.png", data)), ("file", ("b.png", data))][: 2 if path == "/segment/batch" else 1]
        with failing(owner, name, error, after=after) as calls, suppress(asyncio.CancelledError):
            client.post(f"{path}?format=overlay", files=files)
        assert calls or (path, name) == ("/segment/batch", "of")
        assert_idle(service_of(client))
        wait_until(lambda: anonymous_files() == before, lambda: f"{anonymous_files()}, before: {before}")
    response = client.post(f"{path}?format=overlay", files=files)
    assert response.status_code == 200
    assert len(response.content) > 1 << 20  # LARGE is in a file, and so is its answer


def test_what_a_reservation_owns_is_closed_with_it_and_what_comes_later_when_it_is_closed_again() -> None:
    admission = Admission(max_queued_tiles=9, memory_bytes=1 << 30, workers=1, large_places=1, clients=Clients())
    bodies = [Blob.of(bytes(3 << 20)) for _ in range(2)]
    with admission.acquire(Client(lambda: 0, lambda: None), "", inf) as reservation:
        reservation.callback(bodies[0].close)
        assert bodies[0].is_open
    reservation.callback(bodies[1].close)
    reservation.set_body(1000)
    reservation.close()
    assert admission.used_bytes == 0
    assert not any(body.is_open for body in bodies)
