"""A service that answers as its script says, and what asks it; no sleep takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
import pytest
from fcn_client import AsyncSegmentClient, SegmentClient
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
        self.waits: list[float] = []
        self.now = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        self.seconds.append(request.extensions["timeout"])
        outcome = self.script.pop(0)
        if isinstance(outcome, httpx.RequestError):
            raise outcome
        return outcome

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
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
