"""Answers and errors leave nothing for the garbage collector: an image that failed would stay in memory until it comes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_idle, service_of
from tests.support.app.services import Serve, hold_model, module_client, occupy
from tests.support.checkout import ROOT

ROOMS = [ROOT / room for room in ("app", "common", "imaging", "model")]


client = module_client(max_queued_tiles=2)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """The collector looks at what this module's tests make alone: all that was there before takes it a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def collector_off(frozen: None) -> Iterator[None]:
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
    return {code.co_qualname for code in codes if any(room in Path(code.co_filename).parents for room in ROOMS)}


@pytest.mark.parametrize("data", [PHOTO, PHOTO[: len(PHOTO) // 2], b"text", b""], ids=["good", "damaged", "text", "empty"])
@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
def test_an_answer_or_an_error_leaves_nothing(client: TestClient, path: str, data: bytes) -> None:
    for _ in range(3):
        assert client.post(path, files={"file": ("a", data)}).status_code in (200, 400, 415, 422)
    assert_idle(service_of(client))
    assert left_behind() == set()


def test_a_deadline_that_passes_leaves_nothing(serve: Serve) -> None:
    with serve(request_timeout_s=0.5) as client:
        with hold_model(service_of(client)):
            assert client.post("/segment", content=PHOTO).status_code == 504
        assert left_behind() == set()


def test_a_refusal_leaves_nothing(client: TestClient) -> None:
    with occupy(service_of(client), 2):
        assert client.post("/segment", content=PHOTO).status_code == 503
    assert left_behind() == set()
