"""What clients, health checks and whoever started the process see when a decoder or the event loop does not come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from app.serving.registry import Model
from app.serving.service import Service
from imaging.errors import UnknownImageType
from model.inference.segmenter import Check, Options, Output, Plan, Run, Segmenter
from tests.app.asking import assert_problem
from tests.app.doubles import FirstChannel, Hold
from tests.app.test_faults import GOOD, served
from tests.conftest import HANG_S, encoded, wait_for

SIDE = 33
HANGS = encoded(np.zeros((SIDE, SIDE, 3), np.uint8))


class Hanging(Segmenter):
    """Where `step` is taken for an image of `SIDE` pixels, it waits at the hold."""

    def __init__(self, inner: Segmenter, step: str) -> None:
        super().__init__(inner.runtime, inner.limits)
        self.step, self.hold = step, Hold()
        self.hold.close()

    def wait_at(self, step: str, size: tuple[int, int]) -> None:
        if step == self.step and size == (SIDE, SIDE):
            self.hold()
            raise UnknownImageType("the decoder came back")

    def plan(self, data: bytes, options: Options) -> Plan:
        plan = super().plan(data, options)
        self.wait_at("plan", plan.size)
        return plan

    def segment(self, data: bytes, plan: Plan, run: Run | None = None, check: Check = lambda: None) -> Output:
        self.wait_at("segment", plan.size)
        return super().segment(data, plan, run, check)


@contextmanager
def hanging(service: Service, step: str) -> Iterator[Hanging]:
    ((name, model),) = service.registry.models.items()
    segmenter = Hanging(model.segmenter, step)
    service.registry.models = {name: Model(segmenter, model.scheduler)}
    try:
        yield segmenter
    finally:
        segmenter.hold.open()


@pytest.mark.parametrize(("step", "name"), [("segment", "small"), ("plan", "short")])
def test_an_image_that_hangs_has_its_504_others_go_on_and_after_a_while_the_process_ends_with_1(
    step: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.serving.admission.TRUSTED_S", 1e9
    )  # what hangs counts as work that is slow, and others might be refused
    with served(FirstChannel(), monkeypatch, 20, request_timeout_s=0.5, drain_s=2) as (it, status), hanging(it.service, step):
        assert_problem(httpx.post(f"{it.url}/segment", content=HANGS, timeout=HANG_S), 504, "no answer")
        wait_for(lambda: it.post(GOOD).status_code == 200)
        assert httpx.get(f"{it.url}/health/live", timeout=HANG_S).status_code == 200
        it.service.watchdog.stall_s = 0.1
        assert status.result(HANG_S) == 1
        assert f"a thread of the pool `{name}`" in (it.service.not_live or "")
    assert it.ended == [1]


def test_the_old_network_of_a_reload_is_watched_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = FirstChannel(), FirstChannel()
    with served(old, monkeypatch, 20, request_timeout_s=0.5, drain_s=2) as (it, status), ThreadPoolExecutor() as pool, old.hold:
        hangs = pool.submit(it.post, GOOD)
        assert old.hold.entered.wait(HANG_S)
        before = it.service.registry.get()
        monkeypatch.setattr("app.serving.registry.load_runtime", lambda *_: new)
        it.service.reload()
        assert_problem(hangs.result(HANG_S), 504, "no answer")
        wait_for(lambda: it.service.registry.get() is not before and not before.users)
        wait_for(lambda: it.post(GOOD).status_code == 200)  # its time is half a second as well
        assert it.service.not_live is None
        it.service.watchdog.stall_s = 0.1
        assert status.result(HANG_S) == 1
        assert "the network has been at one call" in (it.service.not_live or "")
        old.hold.open()
    assert it.ended == [1]


def test_an_event_loop_that_stalls_answers_no_health_check_and_ends_the_process_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold()
    with served(FirstChannel(), monkeypatch, drain_s=0) as (it, status), ThreadPoolExecutor() as pool, hold:

        @it.app.get("/stall")
        async def stall() -> None:
            hold()

        pool.submit(httpx.get, f"{it.url}/stall", timeout=HANG_S)
        assert hold.entered.wait(HANG_S)
        it.service.watchdog.stall_s = 1
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{it.url}/health/live", timeout=0.1)
        wait_for(lambda: it.ended == [1])
        assert "the event loop has been at one call" in (it.service.not_live or "")
        hold.open()
        assert status.result(HANG_S) == 1


def test_an_event_loop_that_comes_back_in_time_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(FirstChannel(), monkeypatch) as (it, _):

        @it.app.get("/stall")
        async def stall() -> None:
            time.sleep(0.3)

        for _ in range(3):
            assert httpx.get(f"{it.url}/stall", timeout=HANG_S).status_code == 200
        assert it.service.not_live is None
        assert it.post(GOOD).status_code == 200
