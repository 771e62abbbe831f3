"""What clients, health checks and whoever started the process see when a worker or the event loop does not come back."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.app.exchanges import assert_problem
from tests.support.app.served_thread import GOOD, serve_on_thread
from tests.support.model.doubles import FirstChannel, Hold
from tests.support.polling import HANG_S, wait_until

STALL_S = 0.3  # fifteen looks of the watchdog


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
