"""A service that answers as its script says, and both kinds of clients with methods that wait; no sleep takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fcn_client import AsyncSegmentClient, SegmentClient
from fcn_client.images import ImageLike

Script = Sequence[httpx.Response | httpx.RequestError]
Kind = type[SegmentClient] | type[AsyncSegmentClient]
both = pytest.mark.parametrize("kind", [SegmentClient, AsyncSegmentClient], ids=["sync", "async"])


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


class Waiting:
    """An asynchronous client whose methods wait for their answers."""

    def __init__(self, client: AsyncSegmentClient, run: Callable[..., Any]) -> None:
        self._client, self._run = client, run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            answer = getattr(self._client, name)(*arguments, **options)
            return self._run(everything(answer) if hasattr(answer, "__anext__") else answer)

        return call


async def everything(items: Any) -> list[Any]:
    return [item async for item in items]


@contextmanager
def client_of(kind: Kind, url: str = "http://service", **settings: Any) -> Iterator[Any]:
    """A client of this kind, whose methods wait for their answers."""
    if kind is SegmentClient:
        with SegmentClient(url, **settings) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        asynchronous = AsyncSegmentClient(url, **settings)
        try:
            yield Waiting(asynchronous, runner.run)
        finally:
            runner.run(asynchronous.aclose())


def answering(kind: Kind, service: Service, **settings: Any) -> Any:
    """A client of this service and its clock."""
    sleep = service.sleep if kind is SegmentClient else service.asleep
    transport = httpx.MockTransport(service.answer)
    return client_of(kind, "http://service/path", transport=transport, sleep=sleep, clock=service.clock, **settings)


def ask(kind: Kind, service: Service, image: ImageLike = b"image", **settings: Any) -> bytes:
    with answering(kind, service, **settings) as client:
        mask: bytes = client.mask_png(image)
        return mask
