"""What clients, health checks and whoever started the process see when the network, its device, a thread or a worker fails."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from model.inference.runtime import DeviceLost, DeviceOutOfMemory
from tests.support.app.exchanges import assert_problem
from tests.support.app.served_thread import GOOD, serve_on_thread
from tests.support.model.doubles import FirstChannel, Hold
from tests.support.polling import HANG_S, wait_until

BAD = 7


FAULTS: list[tuple[Exception, int, str]] = [
    (RuntimeError("this tile cannot be run"), 500, "the log has the request's id"),
    (DeviceOutOfMemory("the device's memory is full"), 503, "memory is full; try again later"),
    (MemoryError("12 GiB"), 503, "the service's memory is full; try again later"),
]


def test_a_tile_that_fails_is_its_request_s_error_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = FirstChannel()
    with serve_on_thread(runtime, monkeypatch) as (it, _):
        for fault, status, words in FAULTS:
            runtime.errors[BAD] = fault
            assert_problem(it.post(BAD), status, words)
            assert it.post(GOOD).status_code == 200
            for path in ("/health/live", "/health/ready"):
                assert httpx.get(f"{it.url}{path}", timeout=HANG_S).status_code == 200
            # a request is counted after its answer is sent
            wait_until(lambda status=status: f'status="{status}"' in httpx.get(f"{it.url}/metrics", timeout=HANG_S).text)  # type: ignore[misc]
    assert "this tile cannot be run" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (DeviceLost("the device is broken"), "the device is broken"),
        (None, "does not come back"),
        (SystemExit(), "a thread of the scheduler has ended"),
    ],
)
def test_a_network_that_is_lost_answers_everyone_and_ends_the_process_with_1(
    fault: BaseException | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FirstChannel()
    if fault:
        runtime.errors[BAD] = fault
    stall_s = 30.0 if fault else 20.0  # with less than 30 the event loop is not
    with serve_on_thread(runtime, monkeypatch, stall_s) as (it, status), ThreadPoolExecutor() as pool:
        runtime.hold.close()
        futures = [pool.submit(it.post, BAD) for _ in range(4)]
        wait_until(lambda: it.service.in_flight == 4)
        if fault:
            runtime.hold.open()
        else:
            it.service.watchdog.stall_s = 0.5
        for each in futures:
            assert_problem(each.result(HANG_S), 503, words)
        assert words in (it.service.not_live or "")
        assert words in (it.service.not_ready or "")
        assert status.result(HANG_S) == 1
    assert it.exit_statuses == [1]


def test_a_thread_that_cannot_be_started_is_a_503_and_ends_the_process_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("AnyIO"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with serve_on_thread(FirstChannel(), monkeypatch) as (it, status):
        response = httpx.get(f"{it.url}/metrics", timeout=HANG_S)
        assert_problem(response, 503, "a thread could not be started: can't start new thread")
        assert response.headers["retry-after"]
        assert "can't start new thread" in (it.service.not_live or "")
        assert status.result(HANG_S) == 1
        assert not it.service.admission.places
    assert it.exit_statuses == [1]


def test_an_image_whose_worker_hangs_has_its_504_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.admission.DEADLINE_SHARE", 1e6)  # what hangs counts as slow work
    with serve_on_thread(FirstChannel(), monkeypatch, request_timeout_s=2, drain_s=2) as (it, _):
        for pid in it.service.workers.pids:
            os.kill(pid, signal.SIGSTOP)
        assert_problem(it.post(GOOD), 504, "no answer within 2 s")
        wait_until(lambda: it.post(GOOD).status_code == 200)
        assert httpx.get(f"{it.url}/health/live", timeout=HANG_S).status_code == 200
        metrics = httpx.get(f"{it.url}/metrics", timeout=HANG_S).text
        assert 'segment_worker_deaths_total{reason="deadline"} 0.0' not in metrics


def test_an_event_loop_that_stalls_answers_no_health_check_and_ends_the_process_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold()
    with serve_on_thread(FirstChannel(), monkeypatch, drain_s=0) as (it, status), ThreadPoolExecutor() as pool, hold:

        @it.app.get("/stall")
        async def stall() -> None:
            hold()

        pool.submit(httpx.get, f"{it.url}/stall", timeout=HANG_S)
        assert hold.entry.wait(HANG_S)
        it.service.watchdog.stall_s = 1
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{it.url}/health/live", timeout=0.1)
        wait_until(lambda: it.exit_statuses == [1])
        assert "the event loop has been at one call" in (it.service.not_live or "")
        hold.open()
        assert status.result(HANG_S) == 1
