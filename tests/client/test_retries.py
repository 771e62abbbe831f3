"""When the client asks again; the service's answers are made here, and no test sleeps."""

from __future__ import annotations

import io

import httpx
import pytest
from fcn_client import BadRequest, SegmentClient, ServerBusy

from tests.support.client.scripted_service import Kind, Service, answering, ask, both, good, problem


@both
def test_a_busy_service_is_asked_again_when_it_says_with_the_same_image(kind: Kind) -> None:
    service = Service([problem(503, {"Retry-After": "7"}), httpx.ConnectError("refused"), good()])
    assert ask(kind, service) == b"mask"
    assert service.waits[0] == 7
    assert 0.5 <= service.waits[1] <= 1.0
    assert len(service.bodies) == 3
    assert all(b"image" in body for body in service.bodies)


@both
def test_after_the_last_retry_the_error_says_how_long_to_wait(kind: Kind) -> None:
    service = Service([problem(503, {"Retry-After": "3"})] * 3)
    with pytest.raises(ServerBusy, match="503 Title: what to do") as error_info:
        ask(kind, service, retries=2)
    assert service.waits == [3, 3]
    assert (error_info.value.retry_after, error_info.value.request_id, error_info.value.title) == (3, "abc", "Title")


@pytest.mark.parametrize("value", ["", "soon", "-1", "\u00b2", "Fri, 01 Jan 2021 00:01:30 GMT"])
def test_a_busy_service_that_names_no_seconds_leaves_them_open(value: str) -> None:
    busy = httpx.Response(503, headers=[(b"Retry-After", value.encode("latin-1"))])
    with pytest.raises(ServerBusy) as error_info:
        ask(SegmentClient, Service([busy]), retries=0)
    assert error_info.value.retry_after is None


@both
def test_every_attempt_has_the_seconds_that_are_left_and_none_begins_after_them(kind: Kind) -> None:
    service = Service([problem(503, {"Retry-After": "40"}), problem(503, {"Retry-After": "55"}), problem(503)])
    with pytest.raises(ServerBusy):
        ask(kind, service, timeout=95.1)
    assert service.waits == [40, 55]
    assert [timeout["read"] for timeout in service.seconds] == pytest.approx([95.1, 55.1, 0.1])
    assert [timeout["connect"] for timeout in service.seconds] == pytest.approx([10, 10, 0.1])


def test_a_file_is_read_once() -> None:
    service = Service([httpx.ReadError("reset"), httpx.ConnectTimeout("slow"), httpx.RemoteProtocolError("cut"), good()])
    with io.BytesIO(b"pixels") as file:
        ask(SegmentClient, service, image=file)
    assert [b"\r\n\r\npixels\r\n" in body for body in service.bodies] == [True] * 4


def test_pauses_grow_where_the_service_says_nothing() -> None:
    service = Service([problem(503)] * 7 + [good()])
    ask(SegmentClient, service, retries=9)
    for i, pause in enumerate(service.waits):
        assert min(20, 0.5 * 2**i) / 2 <= pause <= min(20, 0.5 * 2**i)


@both
def test_waiting_for_readiness_ends(kind: Kind) -> None:
    service = Service([problem(503, {"Retry-After": "1"})] * 20)
    with answering(kind, service) as client, pytest.raises(ServerBusy, match="what to do"):
        client.wait_until_ready(1)
    assert 0.8 <= service.now <= 1
    assert service.seconds[0]["read"] == 1
    service = Service([problem(503), httpx.ConnectError("x"), problem(503), good(), problem(404)])
    with answering(kind, service) as client:
        client.wait_until_ready()
        with pytest.raises(BadRequest):
            client.wait_until_ready()


@both
def test_readiness_is_asked_once(kind: Kind) -> None:
    with answering(kind, Service([good(), problem(503), httpx.ConnectError("refused"), problem(404)])) as client:
        assert [client.ready() for _ in range(3)] == [True, False, False]
        with pytest.raises(BadRequest):
            client.ready()
