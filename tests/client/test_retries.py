"""When the client asks again; the service's answers are made here, and no test sleeps."""

from __future__ import annotations

import io

import httpx
import pytest
from fcn_client import ServerBusy

from tests.support.client.scripted_service import Ask, Service, ask_sync, both, good, problem


@both
def test_a_busy_service_is_asked_again_when_it_says_with_the_same_image(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "7"}), httpx.ConnectError("refused"), good()])
    assert ask(service) == b"mask"
    assert service.waits[0] == 7
    assert 0.5 <= service.waits[1] <= 1.0
    assert len(service.bodies) == 3
    assert all(b"image" in body for body in service.bodies)


@both
def test_after_the_last_retry_the_error_says_how_long_to_wait(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "3"})] * 3)
    with pytest.raises(ServerBusy, match="503 Title: what to do") as error_info:
        ask(service, retries=2)
    assert service.waits == [3, 3]
    assert (error_info.value.retry_after, error_info.value.request_id, error_info.value.title) == (3, "abc", "Title")


@both
def test_no_retry_begins_after_the_timeout(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "40"})] * 9)
    with pytest.raises(ServerBusy):
        ask(service, timeout=100)
    assert service.waits == [40, 40]


@both
def test_every_attempt_has_the_seconds_that_are_left(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "40"}), problem(503, {"Retry-After": "55"}), good()])
    ask(service, timeout=100)
    assert [(timeout["read"], timeout["connect"]) for timeout in service.seconds] == [(100, 10), (60, 10), (5, 5)]


@both
def test_a_file_is_read_once(ask: Ask) -> None:
    service = Service([httpx.ReadError("reset"), httpx.ConnectTimeout("slow"), httpx.RemoteProtocolError("cut"), good()])
    with io.BytesIO(b"pixels") as file:
        ask(service, image=file)
    assert [b"\r\n\r\npixels\r\n" in body for body in service.bodies] == [True] * 4


def test_pauses_grow_where_the_service_says_nothing() -> None:
    service = Service([problem(503)] * 7 + [good()])
    ask_sync(service, retries=9)
    for i, pause in enumerate(service.waits):
        assert min(20, 0.5 * 2**i) / 2 <= pause <= min(20, 0.5 * 2**i)
