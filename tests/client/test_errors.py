"""What the client's errors say."""

from __future__ import annotations

import httpx
import pytest
from fcn_client import ConnectionFailed, ConnectionLost, InvalidImage, SegmentClient, SegmentError, WrongParameter, errors

from tests.support.client.scripted_service import Kind, Service, ask, both, problem


@both
def test_a_lost_service_is_told(kind: Kind) -> None:
    service = Service([httpx.ConnectError("refused")] * 2)
    with pytest.raises(ConnectionLost, match=r"http://service .*refused") as error_info:
        ask(kind, service, retries=1)
    assert isinstance(error_info.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ReadTimeout("timed out"), "no answer from http://service within 120 s; give a longer timeout"),
        (httpx.LocalProtocolError("illegal header"), "http://service cannot be asked: illegal header"),
        (httpx.DecodingError("not gzip"), "http://service cannot be asked: not gzip"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_another_attempt_would_not_mend_is_told_at_once(error: httpx.RequestError, message: str) -> None:
    service = Service([error])
    with pytest.raises(ConnectionFailed, match=message) as error_info:
        ask(SegmentClient, service)
    assert not isinstance(error_info.value, ConnectionLost)
    assert service.waits == []


@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 422, 504, 500])
def test_other_errors_are_raised_at_once(status: int) -> None:
    service = Service([problem(status)])
    with pytest.raises(SegmentError, match=f"{status} Title: what to do") as error_info:
        ask(SegmentClient, service)
    assert type(error_info.value) is errors.KINDS.get(status, SegmentError)
    assert error_info.value.problem["status"] == status
    assert service.waits == []


def test_a_wrong_parameter_is_no_damaged_image() -> None:
    document = {"type": "urn:problem-type:fcn-segment:wrong-parameter", "title": "Wrong parameter", "detail": "side: got 5"}
    with pytest.raises(WrongParameter, match="422 Wrong parameter: side: got 5"):
        ask(SegmentClient, Service([httpx.Response(422, json=document)]))
    with pytest.raises(InvalidImage):
        ask(
            SegmentClient,
            Service([httpx.Response(422, json=document | {"type": "urn:problem-type:fcn-segment:damaged-image"})]),
        )


def test_an_error_of_another_program_says_what_it_can() -> None:
    with pytest.raises(SegmentError, match="502 Status 502: Bad Gateway"):
        ask(SegmentClient, Service([httpx.Response(502, text="<html>")]))
    redirect = httpx.Response(308, headers={"Location": "https://service/", "X-Request-ID": "here"})
    with pytest.raises(SegmentError, match=r"https://service/.*base_url") as error_info:
        ask(SegmentClient, Service([redirect]))
    assert error_info.value.request_id == "here"
