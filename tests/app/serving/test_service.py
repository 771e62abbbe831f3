"""The service's states, its threads, and what becomes of a job that nobody waits for."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.serving.admission import Admission
from app.serving.errors import Cancelled, DeadlinePassed, NotServing
from app.serving.registry import Model
from app.serving.service import LARGE_MEGAPIXELS, Job, Service
from app.settings import Settings
from imaging.errors import DamagedImage
from model.inference.runtime import DeviceLost
from model.inference.segmenter import Check, Options, Output, Plan, Run, Segmenter
from tests.app.asking import PHOTO, assert_idle
from tests.app.doubles import Clock, FirstChannel, Hold, held
from tests.conftest import HANG_S, encoded, make_photo, wait_for

OPTIONS = Options(tile=(96, 96))
LARGE = encoded(np.zeros((2001, 2000, 3), np.uint8), "JPEG")


@contextmanager
def started(weights: Path | str, ready: bool = True) -> Iterator[Service]:
    service = Service(Settings(_env_file=None, weights=str(weights), device="cpu", runtime="openvino", tile="96", threads=1))
    service.start()
    try:
        if ready:
            wait_for(lambda: service.not_ready is None)
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def service(narrow_file: Path) -> Iterator[Service]:
    with started(narrow_file) as found:
        yield found


def job_of(service: Service, data: bytes = PHOTO, deadline: float | None = None) -> Job:
    return service.prepare(data, OPTIONS, None, service.reserve(), deadline or service.deadline())


def test_a_job_is_done_and_its_reservation_given_back(service: Service) -> None:
    job = job_of(service)
    assert (service.admission.requests, service.queued_tiles) == (1, len(job.plan.tiles))
    body = service.submit(job).result(HANG_S)
    assert body == job.model.segmenter.segment(PHOTO, job.plan).body
    assert set(job.milliseconds) == {"decode", "queue", "inference", "encode"}
    assert job.milliseconds["inference"] > 0
    wait_for(lambda: service.admission.requests == 0)
    assert_idle(service)


def test_a_job_that_is_cancelled_keeps_its_tiles_until_its_thread_is_done_with_it(service: Service) -> None:
    with held(service) as hold:
        job = job_of(service)
        made = service.submit(job)
        assert hold.entered.wait(HANG_S)
        other = job_of(service)
        service.cancel(other)
        with pytest.raises(Cancelled):
            service.submit(other).result(HANG_S)
        service.cancel(job)
        assert not made.cancel()
        assert service.admission.requests == 1
        hold.open()
        with pytest.raises(Cancelled):
            made.result(HANG_S)
    assert_idle(service)


def test_a_job_that_is_cancelled_before_it_begins_gives_its_reservation_back_at_once(service: Service) -> None:
    with held(service) as hold:
        threads = [service.submit(job_of(service)) for _ in range(2 * service.settings.cpu_threads + 1)]
        waiting = service.submit(job_of(service))
        before = service.admission.requests
        assert waiting.cancel()
        assert service.admission.requests == before - 1
        hold.open()
        assert all(each.result(HANG_S) for each in threads)
    assert_idle(service)


def test_a_job_past_its_deadline_is_neither_decoded_nor_run(service: Service) -> None:
    job = job_of(service, PHOTO[: len(PHOTO) // 2], deadline=time.monotonic())
    with pytest.raises(DeadlinePassed):  # not `DamagedImage`
        service.submit(job).result(HANG_S)
    assert_idle(service)


def test_an_image_that_fails_tells_nothing_of_the_rate(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    admission = Admission(1000, clock)
    monkeypatch.setattr(service, "admission", admission)
    for _ in range(20):
        job = job_of(service)
        clock.now += 0.1
        assert service.submit(job).result(HANG_S)
        wait_for(lambda: admission.requests == 0)
    rate = admission.tiles_per_second
    assert rate == pytest.approx(10 * len(job.plan.tiles), rel=0.01)
    for _ in range(20):
        job = job_of(service, encoded(make_photo(90, 130), "JPEG")[:700])
        clock.now += 10
        assert isinstance(service.submit(job).exception(HANG_S), DamagedImage)
        wait_for(lambda: admission.requests == 0)
    assert admission.tiles_per_second == rate


class HeldSegmenter(Segmenter):
    """Large images wait before they are decoded."""

    hold = Hold()

    def segment(self, data: bytes, plan: Plan, run: Run | None = None, check: Check = lambda: None) -> Output:
        if plan.megapixels > LARGE_MEGAPIXELS:
            self.hold()
        return super().segment(data, plan, run, check)


def test_a_small_image_is_done_while_all_threads_of_large_ones_are_busy(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = service.registry.get()
    segmenter = HeldSegmenter(model.segmenter.runtime)
    monkeypatch.setattr(service.registry, "models", {"narrow": Model(segmenter, model.scheduler)})
    with segmenter.hold as hold:
        large = [service.submit(job_of(service, LARGE)) for _ in range(20)]
        assert hold.entered.wait(HANG_S)
        assert service.submit(job_of(service)).result(HANG_S)
        for each in large:
            each.cancel()
    wait_for(lambda: all(each.done() for each in large))
    wait_for(lambda: service.admission.requests == 0)


def test_a_weights_file_that_cannot_be_loaded_ends_the_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no weights")
    service = Service(Settings(_env_file=None, weights=str(path), device="cpu"))
    ended = threading.Event()
    service.on_failure = ended.set
    service.start()
    assert ended.wait(HANG_S)
    assert "could not be loaded" in (service.failure or "")
    assert service.not_live == service.not_ready == service.failure == caplog.records[-1].message
    service.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loader_that_ends_by_a_bug_is_the_service_s_failure(narrow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.registry.load_runtime", lambda *_: {}["a bug"])
    with started(narrow_file, ready=False) as service:
        wait_for(lambda: service.failure is not None)
        assert "ended without a network" in (service.failure or "")
        wait_for(lambda: not any(thread.name == "loader" for thread in threading.enumerate()))


def test_a_service_that_is_stopped_while_it_loads_does_not_wait_and_keeps_no_thread(
    narrow_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, loading = FirstChannel(), Hold()

    def load(*_: object) -> FirstChannel:
        loading()
        return runtime

    monkeypatch.setattr("app.serving.registry.load_runtime", load)
    with loading, started(narrow_file, ready=False) as service:
        assert loading.entered.wait(HANG_S)
        service.stop()
        loading.open()
        wait_for(lambda: bool(service.registry.models))
        scheduler = service.registry.get().scheduler
        wait_for(lambda: not scheduler.alive)
        assert service.failure is None


def test_a_lost_device_ends_the_service(narrow_file: Path) -> None:
    with started(narrow_file) as service:
        ended = threading.Event()
        service.on_failure = ended.set
        with held(service) as hold:
            job = job_of(service)
            hold.error = DeviceLost("the device is broken")
            made = service.submit(job)
            hold.open()
            with pytest.raises(NotServing, match="the device is broken"):
                made.result(HANG_S)
            assert ended.wait(HANG_S)
            assert service.failure == service.not_live == service.not_ready == "the device is broken"
        assert_idle(service)


def test_a_service_that_is_stopped_takes_nothing_and_cancels_what_waits(narrow_file: Path) -> None:
    with started(narrow_file) as service:
        with held(service) as hold:
            threads = [service.submit(job_of(service)) for _ in range(2 * service.settings.cpu_threads + 1)]
            waiting, late = service.submit(job_of(service)), job_of(service)
            assert hold.entered.wait(HANG_S)
            hold.open()
            service.stop()
            with pytest.raises((CancelledError, NotServing)):
                waiting.result(HANG_S)
            assert {type(each.exception(HANG_S)) for each in threads} <= {type(None), NotServing}
            with pytest.raises(NotServing, match="stopping"):
                service.submit(late)
        assert_idle(service)


def test_a_reload_serves_the_new_file_and_drops_no_request(narrow_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(narrow_file.with_suffix(".onnx"), path)
    stop = threading.Event()

    def ask() -> int:
        done = 0
        while not stop.is_set():
            assert service.submit(job_of(service)).result(HANG_S)
            done += 1
        return done

    with started(path) as service, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for _ in range(3):
            old = service.registry.get()
            service.reload()
            wait_for(lambda old=old: not old.scheduler.alive)  # type: ignore[misc]
        stop.set()
        assert all(each.result(HANG_S) for each in asking)
        assert_idle(service)


def test_a_reload_that_fails_leaves_all_as_it_was(narrow_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(narrow_file.with_suffix(".onnx"), path)
    with started(path) as service:
        before = service.registry.models
        path.write_bytes(b"broken")
        service.reload()
        wait_for(lambda: "not reloaded" in caplog.text)
        assert service.registry.models is before
        assert service.not_ready is None
        assert service.submit(job_of(service)).result(HANG_S)
