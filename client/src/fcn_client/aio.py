"""The client for asyncio."""

from __future__ import annotations

import asyncio
import io
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import calls
from fcn_client.calls import Call, Options
from fcn_client.errors import ConnectionFailed, SegmentError, ServerBusy
from fcn_client.images import ImageLike
from fcn_client.results import Label, Model, Segmentation
from fcn_client.retrying import Outcome, attempts
from fcn_client.sync import POLL_S


class AsyncSegmentClient:
    """As `SegmentClient`, to be awaited; files are read and pixels encoded on a thread."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = calls.TIMEOUT_S,
        retries: int = calls.RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        self._http = httpx.AsyncClient(
            base_url=calls.base(base_url), headers=calls.headers(api_key), timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def segment(self, image: ImageLike, *, confidence: bool = False, **options: Unpack[Options]) -> Segmentation:
        """As `SegmentClient.segment`."""
        query: dict[str, Any] = {"format": "json", "mask": "rle", "confidence": confidence or None}
        response = await self._post(image, **query, **options)
        return await asyncio.to_thread(Segmentation.of, response)

    async def segment_many(
        self, images: Iterable[ImageLike], *, concurrency: int = 4, confidence: bool = False, **options: Unpack[Options]
    ) -> AsyncIterator[tuple[ImageLike, Segmentation | Exception]]:
        """As `SegmentClient.segment_many`."""
        waiting: deque[tuple[ImageLike, asyncio.Task[Segmentation]]] = deque()
        try:
            for image in images:
                waiting.append((image, asyncio.create_task(self.segment(image, confidence=confidence, **options))))
                if len(waiting) >= concurrency:
                    yield await _outcome(*waiting.popleft())
            while waiting:
                yield await _outcome(*waiting.popleft())
        finally:
            for _, task in waiting:
                task.cancel()

    async def raw(self, image: ImageLike, **query: Any) -> bytes:
        """As `SegmentClient.raw`."""
        return (await self._post(image, **query)).content

    async def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """As `SegmentClient.mask_png`."""
        return await self.raw(image, format="png", **options)

    async def overlay(self, image: ImageLike, *, alpha: float = 0.5, **options: Unpack[Options]) -> Image.Image:
        """As `SegmentClient.overlay`."""
        return Image.open(io.BytesIO(await self.raw(image, format="overlay", alpha=alpha, **options)))

    async def classes(self, model: str | None = None) -> list[Label]:
        return [Label(**entry) for entry in (await self._ask(calls.get("classes", model))).json()]

    async def models(self) -> list[Model]:
        """The first is the default."""
        return [Model.of(entry) for entry in (await self._ask(calls.get("models"))).json()]

    async def info(self, model: str | None = None) -> dict[str, Any]:
        """The model, its scores, the device and the limits."""
        found: dict[str, Any] = (await self._ask(calls.get("info", model))).json()
        return found

    async def ready(self) -> bool:
        """Whether it takes images now; asks once."""
        outcome = await self._send(calls.get("health/ready"))
        return isinstance(outcome, httpx.Response) and outcome.is_success

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """As `SegmentClient.wait_until_ready`."""
        end = self._clock() + timeout
        while not await self.ready():
            if self._clock() >= end:
                outcome = await self._send(calls.get("health/ready"))
                kind = ServerBusy if isinstance(outcome, httpx.Response) else ConnectionFailed
                raise kind(f"the service is not ready after {timeout:g} s")
            await self._sleep(POLL_S)

    async def _post(self, image: ImageLike, **query: Any) -> httpx.Response:
        return await self._ask(await asyncio.to_thread(calls.post, image, **query))

    async def _ask(self, call: Call) -> httpx.Response:
        plan = attempts(self.retries, self.timeout, self._clock)
        wanted = next(plan)
        try:
            while True:
                if wanted is None:
                    wanted = plan.send(await self._send(call))
                else:
                    await self._sleep(wanted)
                    wanted = next(plan)
        except StopIteration as done:
            answer: httpx.Response = done.value
            return answer

    async def _send(self, call: Call) -> Outcome:
        try:
            return await self._http.request(call.method, call.path, params=call.query, files=call.files)
        except httpx.TransportError as error:
            return error


async def _outcome(image: ImageLike, task: asyncio.Task[Segmentation]) -> tuple[ImageLike, Segmentation | Exception]:
    try:
        return image, await task
    except (SegmentError, OSError, TypeError, ValueError) as error:
        return image, error
