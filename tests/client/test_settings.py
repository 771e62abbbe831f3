"""What a client is made with."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fcn_client import AsyncSegmentClient, SegmentClient


@pytest.mark.parametrize("kind", [SegmentClient, AsyncSegmentClient])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "service:8000"}, "base_url must be an address such as"),
        ({"timeout": 0}, "timeout must be above 0 s"),
        ({"retries": -1}, "retries at least 0"),
    ],
    ids=["address", "timeout", "retries"],
)
def test_limits_that_leave_nothing_to_ask_are_refused(
    kind: Callable[..., object], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{"base_url": "http://service"} | arguments)


def test_the_path_of_the_address_and_the_key_go_along() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=[])

    with SegmentClient("http://service/under/path", api_key="k", transport=httpx.MockTransport(answer)) as client:
        client.classes("m")
    assert str(requests[0].url) == "http://service/under/path/classes?model=m"
    assert requests[0].headers["x-api-key"] == "k"
