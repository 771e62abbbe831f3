"""When the client asks again, and what its errors say; the service's answers are made here, and no test sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from fcn_client import AsyncSegmentClient, ConnectionFailed, SegmentClient, SegmentError, ServerBusy, errors
from fcn_client.retrying import retry_after

Script = list[httpx.Response | httpx.TransportError]


def problem(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    document = {"type": "about:blank", "title": "Title", "status": status, "detail": "what to do", "request_id": "abc"}
    return httpx.Response(status, json=document, headers=headers)


def good() -> httpx.Response:
    return httpx.Response(200, content=b"mask")


class Service:
    """Answers as its script says, keeps what came, and a clock that only sleeping moves."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[bytes] = []
        self.slept: list[float] = []
        self.now = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        outcome = self.script.pop(0)
        if isinstance(outcome, httpx.TransportError):
            raise outcome
        return outcome

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def clock(self) -> float:
        return self.now


def ask_sync(service: Service, retries: int = 4, timeout: float = 120) -> bytes:
    transport = httpx.MockTransport(service.answer)
    settings = {"retries": retries, "timeout": timeout, "sleep": service.sleep, "clock": service.clock}
    with SegmentClient("http://service/path", transport=transport, **settings) as client:  # type: ignore[arg-type]
        return client.mask_png(b"image")


def ask_async(service: Service, retries: int = 4, timeout: float = 120) -> bytes:
    async def ask() -> bytes:
        transport = httpx.MockTransport(service.answer)
        settings = {"retries": retries, "timeout": timeout, "sleep": service.asleep, "clock": service.clock}
        async with AsyncSegmentClient("http://service/path", transport=transport, **settings) as client:  # type: ignore[arg-type]
            return await client.mask_png(b"image")

    return asyncio.run(ask())


Ask = Callable[..., bytes]
both = pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])


@both
def test_a_busy_service_is_asked_again_when_it_says_with_the_same_image(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "7"}), httpx.ConnectError("refused"), good()])
    assert ask(service) == b"mask"
    assert service.slept[0] == 7
    assert 0.5 <= service.slept[1] <= 1.0
    assert len(service.bodies) == 3
    assert all(b"image" in body for body in service.bodies)


@both
def test_after_the_last_retry_the_error_says_how_long_to_wait(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "3"})] * 3)
    with pytest.raises(ServerBusy, match="503 Title: what to do") as caught:
        ask(service, retries=2)
    assert service.slept == [3, 3]
    assert (caught.value.retry_after, caught.value.request_id, caught.value.title) == (3, "abc", "Title")


@both
def test_no_retry_begins_after_the_timeout(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "40"})] * 9)
    with pytest.raises(ServerBusy):
        ask(service, timeout=100)
    assert service.slept == [40, 40]


@both
def test_a_lost_service_is_told(ask: Ask) -> None:
    service = Service([httpx.ConnectError("refused")] * 2)
    with pytest.raises(ConnectionFailed, match="does not answer: refused"):
        ask(service, retries=1)


@both
@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 422, 504, 500])
def test_other_errors_are_raised_at_once(ask: Ask, status: int) -> None:
    service = Service([problem(status)])
    with pytest.raises(SegmentError, match=f"{status} Title: what to do") as caught:
        ask(service)
    assert type(caught.value) is errors.KINDS.get(status, SegmentError)
    assert caught.value.problem["status"] == status
    assert service.slept == []


def test_an_error_without_a_document_is_told_by_its_status() -> None:
    with pytest.raises(SegmentError, match="502 Status 502: Bad Gateway"):
        ask_sync(Service([httpx.Response(502, text="<html>")]))


def test_pauses_grow_where_the_service_says_nothing() -> None:
    service = Service([problem(503)] * 7 + [good()])
    ask_sync(service, retries=9)
    for i, pause in enumerate(service.slept):
        assert min(20, 0.5 * 2**i) / 2 <= pause <= min(20, 0.5 * 2**i)


@pytest.mark.parametrize("value", ["", "soon", "-1"])
def test_a_header_that_says_nothing(value: str) -> None:
    assert retry_after(httpx.Response(503, headers={"Retry-After": value})) is None


def test_a_date_is_counted_from_now() -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": late})) == pytest.approx(90, abs=5)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": past})) == 0


def test_waiting_for_readiness_ends() -> None:
    service = Service([problem(503)] * 20)
    transport = httpx.MockTransport(service.answer)
    with SegmentClient("http://service", transport=transport, sleep=service.sleep, clock=service.clock) as client:
        with pytest.raises(ServerBusy, match="not ready after 1 s"):
            client.wait_until_ready(1)
        service.script = [problem(503), httpx.ConnectError("x"), good()]
        client.wait_until_ready(1)


def test_the_path_of_the_address_and_the_key_go_along() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    with SegmentClient("http://service/under/path", api_key="k", transport=httpx.MockTransport(answer)) as client:
        client.classes("m")
    assert str(seen[0].url) == "http://service/under/path/classes?model=m"
    assert seen[0].headers["x-api-key"] == "k"
