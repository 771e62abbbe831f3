"""When the client asks again, and what its errors say; the service's answers are made here, and no test sleeps."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from fcn_client import (
    AsyncSegmentClient,
    BadRequest,
    ConnectionFailed,
    ConnectionLost,
    SegmentClient,
    SegmentError,
    ServerBusy,
    errors,
)
from fcn_client.headers import retry_after
from fcn_client.images import ImageLike

Script = Sequence[httpx.Response | httpx.RequestError]


def problem(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    document = {"type": "about:blank", "title": "Title", "status": status, "detail": "what to do", "request_id": "abc"}
    return httpx.Response(status, json=document, headers=headers)


def good() -> httpx.Response:
    return httpx.Response(200, content=b"mask")


class Service:
    """Answers as its script says, keeps what came, and a clock that only sleeping moves."""

    def __init__(self, script: Script) -> None:
        self.script = list(script)
        self.bodies: list[bytes] = []
        self.seconds: list[dict[str, float]] = []
        self.slept: list[float] = []
        self.now = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        self.seconds.append(request.extensions["timeout"])
        outcome = self.script.pop(0)
        if isinstance(outcome, httpx.RequestError):
            raise outcome
        return outcome

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def clock(self) -> float:
        return self.now


def ask_sync(service: Service, retries: int = 4, timeout: float = 120, image: ImageLike = b"image") -> bytes:
    transport = httpx.MockTransport(service.answer)
    settings = {"retries": retries, "timeout": timeout, "sleep": service.sleep, "clock": service.clock}
    with SegmentClient("http://service/path", transport=transport, **settings) as client:  # type: ignore[arg-type]
        return client.mask_png(image)


def ask_async(service: Service, retries: int = 4, timeout: float = 120, image: ImageLike = b"image") -> bytes:
    async def ask() -> bytes:
        transport = httpx.MockTransport(service.answer)
        settings = {"retries": retries, "timeout": timeout, "sleep": service.asleep, "clock": service.clock}
        async with AsyncSegmentClient("http://service/path", transport=transport, **settings) as client:  # type: ignore[arg-type]
            return await client.mask_png(image)

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
def test_every_attempt_has_the_seconds_that_are_left(ask: Ask) -> None:
    service = Service([problem(503, {"Retry-After": "40"}), problem(503, {"Retry-After": "55"}), good()])
    ask(service, timeout=100)
    assert [(given["read"], given["connect"]) for given in service.seconds] == [(100, 10), (60, 10), (5, 5)]


@both
def test_a_file_is_read_once(ask: Ask) -> None:
    service = Service([httpx.ReadError("reset"), httpx.ConnectTimeout("slow"), httpx.RemoteProtocolError("cut"), good()])
    with io.BytesIO(b"pixels") as file:
        ask(service, image=file)
    assert [b"\r\n\r\npixels\r\n" in body for body in service.bodies] == [True] * 4


@both
def test_a_lost_service_is_told(ask: Ask) -> None:
    service = Service([httpx.ConnectError("refused")] * 2)
    with pytest.raises(ConnectionLost, match="http://service does not answer: refused; see that") as caught:
        ask(service, retries=1)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@both
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ReadTimeout("timed out"), "no answer from http://service within 120 s; give a longer timeout"),
        (httpx.LocalProtocolError("illegal header"), "http://service cannot be asked: illegal header"),
        (httpx.DecodingError("not gzip"), "http://service cannot be asked: not gzip"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_another_attempt_would_not_mend_is_told_at_once(ask: Ask, error: httpx.RequestError, told: str) -> None:
    service = Service([error])
    with pytest.raises(ConnectionFailed, match=told) as caught:
        ask(service)
    assert not isinstance(caught.value, ConnectionLost)
    assert service.slept == []


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


@pytest.mark.parametrize("value", ["", "soon", "-1", "\u00b2"])
def test_a_header_that_says_nothing(value: str) -> None:
    assert retry_after(httpx.Response(503, headers=[(b"Retry-After", value.encode("latin-1"))])) is None


def test_a_date_is_counted_from_now() -> None:
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": late})) == pytest.approx(90, abs=5)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": past})) == 0


def test_an_answer_of_another_house_bears_the_id_and_where_it_points() -> None:
    moved = httpx.Response(308, headers={"Location": "https://service/", "X-Request-ID": "here"})
    with pytest.raises(SegmentError, match="moved to https://service/; give its address there as base_url") as caught:
        ask_sync(Service([moved]))
    assert caught.value.request_id == "here"


def test_a_busy_service_that_names_no_time_leaves_it_open() -> None:
    with pytest.raises(ServerBusy) as caught:
        ask_sync(Service([problem(503)]), retries=0)
    assert caught.value.retry_after is None


def test_a_date_is_counted_from_that_of_the_answer() -> None:
    for zone in ("GMT", "-0000"):
        headers = {"Retry-After": f"Fri, 01 Jan 2021 00:01:30 {zone}", "Date": "Fri, 01 Jan 2021 00:00:00 GMT"}
        assert retry_after(httpx.Response(503, headers=headers)) == 90


def ready_sync(service: Service, timeout: float | None = None) -> bool | None:
    transport = httpx.MockTransport(service.answer)
    with SegmentClient("http://service", transport=transport, sleep=service.sleep, clock=service.clock) as client:
        if timeout is None:
            return client.ready()
        client.wait_until_ready(timeout)
        return None


def ready_async(service: Service, timeout: float | None = None) -> bool | None:
    async def ask() -> bool | None:
        transport = httpx.MockTransport(service.answer)
        settings = {"transport": transport, "sleep": service.asleep, "clock": service.clock}
        async with AsyncSegmentClient("http://service", **settings) as client:  # type: ignore[arg-type]
            return await (client.ready() if timeout is None else client.wait_until_ready(timeout))

    return asyncio.run(ask())


Ready = Callable[..., bool | None]
both_ready = pytest.mark.parametrize("ready", [ready_sync, ready_async], ids=["sync", "async"])


@both_ready
def test_waiting_for_readiness_ends(ready: Ready) -> None:
    service = Service([problem(503, {"Retry-After": "1"})] * 20)
    with pytest.raises(ServerBusy, match="what to do"):
        ready(service, 1)
    assert 0.8 <= service.now <= 1
    assert service.seconds[0]["read"] == 1
    service = Service([problem(503), httpx.ConnectError("x"), problem(503), good()])
    ready(service, 60)
    assert not service.script
    with pytest.raises(BadRequest):
        ready(Service([problem(404)]), 60)


@both_ready
def test_readiness_is_asked_once(ready: Ready) -> None:
    assert ready(Service([good()]))
    assert not ready(Service([problem(503)]))
    assert not ready(Service([httpx.ConnectError("refused")]))
    with pytest.raises(BadRequest):
        ready(Service([problem(404)]))


@pytest.mark.parametrize("kind", [SegmentClient, AsyncSegmentClient])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"base_url": "service:8000"}, "base_url must be an address such as"),
        ({"timeout": 0}, "timeout must be above 0 s"),
        ({"retries": -1}, "retries at least 0"),
    ],
    ids=["address", "timeout", "retries"],
)
def test_limits_that_leave_nothing_to_ask_are_refused(kind: Callable[..., object], given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(**{"base_url": "http://service"} | given)


def test_the_path_of_the_address_and_the_key_go_along() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    with SegmentClient("http://service/under/path", api_key="k", transport=httpx.MockTransport(answer)) as client:
        client.classes("m")
    assert str(seen[0].url) == "http://service/under/path/classes?model=m"
    assert seen[0].headers["x-api-key"] == "k"
