"""The client for asyncio."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import address, answers, bodies, calls, jobs, many
from fcn_client.calls import Call
from fcn_client.connections import Connections
from fcn_client.errors import ConnectionFailed, ServerBusy, connection_error, error_of
from fcn_client.images import ImageLike
from fcn_client.jobs import Job, Output
from fcn_client.parameters import CocoOptions, CutoutOptions, Options, OverlayOptions, PolygonsOptions, SegmentOptions
from fcn_client.results import Label, Model, Polygon, Segmentation
from fcn_client.retrying import POLL_S, Attempts, Outcome


class AsyncSegmentClient:
    """Asynchronous version of `SegmentClient`. Reads files, encodes pixels and decodes answers on a thread.

    Each event loop has connections of its own, so a second `asyncio.run` may use the same client. `aclose` closes those of the
    running loop.
    """

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
        calls.limits(timeout, retries)
        self._labels: dict[tuple[str, str], list[Label]] = {}
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        url, headers = address.base(base_url), address.headers(api_key)

        def connect() -> httpx.AsyncClient:
            own = httpx.AsyncHTTPTransport() if transport is None and address.is_this_machine(url.host) else transport
            return httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, transport=own)

        self._connections = Connections(connect, url, repeatable=transport is None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for client in self._connections.close(asyncio.get_running_loop()):
            await client.aclose()

    async def segment(self, image: ImageLike, **options: Unpack[SegmentOptions]) -> Segmentation:
        """As `SegmentClient.segment`."""
        response = await self._post(image, calls.query("segment", options))
        return await asyncio.to_thread(answers.segmentation, response, await self._labels_of(response))

    def segment_many(
        self, images: Iterable[ImageLike], *, concurrency: int = 4, **options: Unpack[SegmentOptions]
    ) -> AsyncIterator[tuple[ImageLike, Segmentation | Exception]]:
        """As `SegmentClient.segment_many`."""
        many.check(images, concurrency)
        calls.query("segment", options)
        return many.in_order_async(images, partial(self.segment, **options), concurrency)

    async def raw(self, image: ImageLike, **query: Any) -> bytes:
        """As `SegmentClient.raw`."""
        return answers.body(await self._post(image, query))

    async def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """As `SegmentClient.mask_png`."""
        return await self.raw(image, **calls.query("mask_png", options))

    async def overlay(self, image: ImageLike, **options: Unpack[OverlayOptions]) -> Image.Image:
        """As `SegmentClient.overlay`."""
        return await asyncio.to_thread(answers.picture, await self._post(image, calls.query("overlay", options)))

    async def cutout(self, image: ImageLike, **options: Unpack[CutoutOptions]) -> Image.Image:
        """As `SegmentClient.cutout`."""
        return await asyncio.to_thread(answers.picture, await self._post(image, calls.query("cutout", options)))

    async def polygons(self, image: ImageLike, **options: Unpack[PolygonsOptions]) -> dict[str, list[Polygon]]:
        """As `SegmentClient.polygons`."""
        return await asyncio.to_thread(answers.polygons, await self._post(image, calls.query("polygons", options)))

    async def coco(self, image: ImageLike, **options: Unpack[CocoOptions]) -> dict[str, Any]:
        """As `SegmentClient.coco`."""
        return await asyncio.to_thread(answers.document, await self._post(image, calls.query("coco", options)))

    async def submit(
        self, files: Sequence[str | Path] | str | Path, *, output: Output | Sequence[Output], **parameters: Any
    ) -> Job:
        """As `SegmentClient.submit`."""
        with jobs.submission(files, output, parameters) as call:
            return jobs.parse(await self._ask(call, Attempts(0, self.timeout, self._clock)))

    async def job(self, job: Job | str) -> Job:
        """As `SegmentClient.job`."""
        return jobs.parse(await self._ask(jobs.call(job)))

    async def wait(self, job: Job | str, on_progress: Callable[[Job], object] = lambda _: None) -> Job:
        """As `SegmentClient.wait`."""
        while (now := (await self.job(job)).checked()).is_open:
            on_progress(now)
            await self._sleep(jobs.PAUSE_S)
        return now

    async def results(self, job: Job | str, out: str | Path, output: Output | None = None) -> None:
        """As `SegmentClient.results`."""
        try:
            call = jobs.call(job, "results", output)
            with jobs.whole_file(out) as file:
                async with self._stream(call, self.timeout) as response:
                    if not response.is_success:
                        raise error_of(await bodies.aread(response))
                    jobs.check_file(response)
                    async for chunk in response.aiter_bytes():
                        await asyncio.to_thread(file.write, chunk)
        except httpx.RequestError as error:
            raise connection_error(error, self.timeout) from error

    async def dismiss(self, job: Job | str) -> None:
        """As `SegmentClient.dismiss`."""
        await self._ask(jobs.call(job, method="DELETE"))

    async def classes(self, model: str | None = None) -> list[Label]:
        """As `SegmentClient.classes`."""
        return answers.labels(await self._ask(calls.get("classes", model)))

    async def models(self) -> list[Model]:
        """As `SegmentClient.models`."""
        return answers.models(await self._ask(calls.get("models")))

    async def info(self, model: str | None = None) -> dict[str, Any]:
        """As `SegmentClient.info`."""
        return answers.document(await self._ask(calls.get("info", model)))

    async def ready(self) -> bool:
        """As `SegmentClient.ready`."""
        try:
            answers.not_a_page(await self._ask(calls.get("health/ready"), Attempts(0, self.timeout, self._clock)))
        except (ServerBusy, ConnectionFailed):
            return False
        return True

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """As `SegmentClient.wait_until_ready`."""
        answers.not_a_page(await self._ask(calls.get("health/ready"), Attempts(math.inf, timeout, self._clock, POLL_S)))

    async def _post(self, image: ImageLike, query: dict[str, Any]) -> httpx.Response:
        return await self._ask(await asyncio.to_thread(calls.post, image, query, self.timeout))

    async def _labels_of(self, response: httpx.Response) -> list[Label]:
        """The classes of the model that gave the JSON answer. Asks the service once for each model."""
        model = await asyncio.to_thread(answers.model_of, response)
        if model not in self._labels:
            self._labels[model] = await self.classes(model[0])
        return self._labels[model]

    async def _ask(self, call: Call, attempts: Attempts | None = None) -> httpx.Response:
        attempts = attempts or Attempts(self.retries, self.timeout, self._clock)
        while True:
            outcome = await self._send(call, attempts.left)
            pause = attempts.pause_after(outcome)
            if pause is None:
                assert isinstance(outcome, httpx.Response)
                return outcome
            await self._sleep(pause)

    async def _send(self, call: Call, seconds: float) -> Outcome:
        try:
            async with self._stream(call, seconds) as response:
                return await bodies.aread(response)
        except httpx.RequestError as error:
            return error

    def _stream(self, call: Call, seconds: float) -> AbstractAsyncContextManager[httpx.Response]:
        """Sends the request, and opens its answer. Raises `httpx.RequestError`."""
        client, timeout = self._connections.get(asyncio.get_running_loop()), calls.timeouts(seconds)
        return client.stream(call.method, call.path, params=call.query, files=call.files, timeout=timeout)
