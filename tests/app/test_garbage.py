"""Answers and errors leave nothing for the garbage collector: an image that failed would stay in memory until it comes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from fastapi.testclient import TestClient

from app.service import Service
from tests.app.asking import PHOTO
from tests.app.conftest import Serve
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_behind() -> set[str]:
    """Our functions whose variables only the collector would free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    codes = [each.f_code for each in gc.garbage if isinstance(each, FrameType)]
    gc.garbage.clear()
    rooms = [ROOT / room for room in ("app", "imaging", "model")]
    return {code.co_qualname for code in codes if any(room in Path(code.co_filename).parents for room in rooms)}


def statuses(client: TestClient, data: bytes = PHOTO) -> set[int]:
    return {client.post("/segment", content=data).status_code for _ in range(3)}


def test_the_measure_sees_a_call_that_keeps_its_error() -> None:
    def keeps_its_error() -> None:
        try:
            raise ValueError
        except ValueError as error:
            kept = error
        assert kept

    keeps_its_error.__code__ = keeps_its_error.__code__.replace(co_filename=str(ROOT / "app" / "routes.py"))
    keeps_its_error()
    assert any(name.endswith("keeps_its_error") for name in left_behind())


def test_an_answer_leaves_nothing(client: TestClient) -> None:
    assert statuses(client) == {200}
    assert left_behind() == set()


def test_a_broken_image_leaves_nothing(client: TestClient) -> None:
    assert statuses(client, PHOTO[: len(PHOTO) // 2]) == {422}
    assert left_behind() == set()


def test_a_request_past_its_deadline_leaves_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as client:
        monkeypatch.setattr(client.app.state.service, "deadline", time.monotonic)  # type: ignore[attr-defined]
        assert statuses(client) == {504}
        assert left_behind() == set()


def test_a_refusal_at_the_door_leaves_nothing(serve: Serve) -> None:
    with serve(max_queued_tiles=4) as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        ticket = service.engine.admit(4, service.deadline())
        assert statuses(client) == {503}
        assert left_behind() == set()
        service.engine.release(ticket)
