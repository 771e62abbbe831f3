"""The service's states, and a request's way through it, on an event loop of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.serving.service import Service
from app.settings import Settings
from model.inference.errors import DeadlinePassed, WorkerFailed, WorkersStopped
from model.inference.plan import Options
from tests.support.app.exchanges import PHOTO, assert_idle
from tests.support.app.services import Alone, hold_model
from tests.support.images import encode
from tests.support.model.doubles import FirstChannel, Hold
from tests.support.polling import HANG_S, wait_until

OPTIONS = Options(tile=(96, 96))


@contextmanager
def start_alone(weights: Path | str, ready: bool = True) -> Iterator[Alone]:
    service = Service(Settings(weights=str(weights), device="cpu", runtime="openvino", tile="96", threads=1))
    alone = Alone(service)
    try:
        if ready:
            wait_until(lambda: service.not_ready is None)
        yield alone
    finally:
        alone.stop()


@pytest.fixture(scope="module")
def alone(narrow_file: Path) -> Iterator[Alone]:
    with start_alone(narrow_file) as service:
        yield service


def test_what_is_raised_on_its_plan_ends_a_request_and_keeps_its_worker(alone: Alone) -> None:
    before = set(alone.service.workers.pids)

    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        alone.segment(PHOTO, OPTIONS, check=refuse).result(HANG_S)
    assert_idle(alone.service)
    assert before <= set(alone.service.workers.pids)


def test_a_request_that_is_cancelled_frees_all_that_it_had_at_once(alone: Alone) -> None:
    with hold_model(alone.service) as hold:
        request, other = alone.segment(PHOTO, OPTIONS), alone.segment(PHOTO, OPTIONS)
        assert hold.entry.wait(HANG_S)
        wait_until(lambda: alone.service.admission.used_bytes > 0)
        assert request.cancel()
        assert other.cancel()
        assert_idle(alone.service)  # while the network is still at its tile
    assert alone.segment(PHOTO, OPTIONS).result(HANG_S)


def test_a_deadline_that_passes_ends_a_request_wherever_it_is(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.admission.DEADLINE_SHARE", 1e6)  # else some would be refused before
    monkeypatch.setattr(alone.service, "deadline", lambda: time.monotonic() + 0.2)
    with hold_model(alone.service):
        requests = [alone.segment(PHOTO, OPTIONS) for _ in range(2 * alone.service.workers.count)]
        for each in requests:
            with pytest.raises(DeadlinePassed, match="no answer within 60 s"):
                each.result(HANG_S)
        assert_idle(alone.service)


def test_an_image_that_waits_leaves_its_worker_and_is_done_in_its_turn(alone: Alone) -> None:
    """Large images are worked on one at a time here; small ones go on."""
    large = encode(np.zeros((2001, 2000, 3), np.uint8), "JPEG")
    with hold_model(alone.service) as hold:
        requests = [alone.segment(large, OPTIONS) for _ in range(3 * alone.service.workers.count)]
        assert hold.entry.wait(HANG_S)
        hold.open()
        assert alone.segment(PHOTO, OPTIONS).result(HANG_S)
        assert len({each.result(HANG_S) for each in requests}) == 1
    assert_idle(alone.service)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loader_that_ends_by_a_bug_is_the_service_s_failure(narrow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.registry.load_runtime", lambda *_: {}["a bug"])
    with start_alone(narrow_file, ready=False) as alone:
        wait_until(lambda: alone.service.failure is not None)
        assert "ended without a network" in (alone.service.failure or "")
        wait_until(lambda: not any(thread.name == "loader" for thread in threading.enumerate()))


def test_a_service_that_is_stopped_while_it_loads_does_not_wait_and_keeps_no_thread(
    narrow_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, loading = FirstChannel(), Hold()

    def load(*_: object) -> FirstChannel:
        loading()
        return runtime

    monkeypatch.setattr("app.serving.registry.load_runtime", load)
    with loading, start_alone(narrow_file, ready=False) as alone:
        assert loading.entry.wait(HANG_S)
        alone.call(alone.service.stop())
        loading.open()
        wait_until(lambda: bool(alone.service.registry.models))
        scheduler = alone.service.registry.get().scheduler
        wait_until(lambda: not scheduler.alive)
        assert alone.service.failure is None


def test_a_service_that_is_stopped_takes_nothing_and_answers_what_waits(narrow_file: Path) -> None:
    with start_alone(narrow_file) as alone:
        service = alone.service
        with hold_model(service) as hold:
            requests = [alone.segment(PHOTO, OPTIONS) for _ in range(3 * service.workers.count)]
            assert hold.entry.wait(HANG_S)
            pids = service.workers.pids
            stopping = alone.submit(service.stop())
            for each in requests:
                assert isinstance(each.exception(HANG_S), WorkersStopped | WorkerFailed)
            with pytest.raises(WorkersStopped):
                alone.segment(PHOTO, OPTIONS).result(HANG_S)
            wait_until(lambda: not any(map(psutil.pid_exists, pids)))
            hold.open()
            stopping.result(HANG_S)
        assert_idle(service)
