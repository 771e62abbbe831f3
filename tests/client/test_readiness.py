"""Waiting for a service to be ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from fcn_client import AsyncSegmentClient, BadRequest, SegmentClient, ServerBusy

from tests.support.client.scripted_service import Service, good, problem


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
