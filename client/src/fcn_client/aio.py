"""The client for asyncio."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import address, answers, bodies, calls, parameters
from fcn_client.calls import Call
from fcn_client.connections import Connections
from fcn_client.errors import ConnectionFailed, ServerBusy
from fcn_client.images import ImageLike
from fcn_client.many import check_concurrency, in_order_async
from fcn_client.parameters import OWN, Options
from fcn_client.results import Label, Model, Polygon, Segmentation
from fcn_client.retrying import POLL_S, Attempts, Outcome, Send, attempts


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

        with address.usable_environment(url):
            self._connections = Connections(connect, repeatable=transport is None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for client in self._connections.close(asyncio.get_running_loop()):
            await client.aclose()

    async def segment(
        self,
        image: ImageLike,
        *,
        confidence: bool = False,
        **options: Unpack[Options],
    ) -> Segmentation:
        """As `SegmentClient.segment`."""
        query = calls.query("segment", options, confidence=confidence or None)
        response = await self._post(image, query)
        return await asyncio.to_thread(answers.segmentation, response, await self._labels_of(response))

    def segment_many(
        self,
        images: Iterable[ImageLike],
        *,
        concurrency: int = 4,
        confidence: bool = False,
        **options: Unpack[Options],
    ) -> AsyncIterator[tuple[ImageLike, Segmentation | Exception]]:
        """As `SegmentClient.segment_many`."""
        check_concurrency(concurrency)
        calls.check_options(options, ("concurrency", *OWN["segment"]))
        ask = partial(self.segment, confidence=confidence, **options)
        return in_order_async(images, ask, concurrency)

    async def raw(self, image: ImageLike, **query: Any) -> bytes:
        """As `SegmentClient.raw`."""
        return answers.body(await self._post(image, query))

    async def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """As `SegmentClient.mask_png`."""
        return await self.raw(image, **calls.check_options(options), format="png")

    async def overlay(
        self,
        image: ImageLike,
        *,
        classes: parameters.Classes | None = None,
        alpha: float = 0.5,
        image_format: parameters.ImageFormat = "jpeg",
        palette: parameters.Palette | None = None,
        names: bool | None = None,
        **options: Unpack[Options],
    ) -> Image.Image:
        """As `SegmentClient.overlay`."""
        query = calls.query(
            "overlay",
            options,
            classes=classes,
            alpha=alpha,
            image_format=image_format,
            palette=palette,
            names=names,
        )
        return await asyncio.to_thread(answers.picture, await self._post(image, query))

    async def cutout(
        self,
        image: ImageLike,
        *,
        classes: parameters.Classes | None = None,
        image_format: parameters.ImageFormat | None = None,
        crop: bool = False,
        background: str | None = None,
        **options: Unpack[Options],
    ) -> Image.Image:
        """As `SegmentClient.cutout`."""
        query = calls.query(
            "cutout",
            options,
            classes=classes,
            image_format=image_format,
            crop=crop or None,
            background=background,
        )
        return await asyncio.to_thread(answers.picture, await self._post(image, query))

    async def polygons(
        self,
        image: ImageLike,
        *,
        classes: parameters.Classes | None = None,
        tolerance: float | None = None,
        topology: parameters.Topology | None = None,
        **options: Unpack[Options],
    ) -> dict[str, list[Polygon]]:
        """As `SegmentClient.polygons`."""
        query = calls.query("polygons", options, classes=classes, tolerance=tolerance, topology=topology)
        return await asyncio.to_thread(answers.polygons, await self._post(image, query))

    async def coco(
        self,
        image: ImageLike,
        *,
        mask: parameters.Mask = "rle",
        classes: parameters.Classes | None = None,
        tolerance: float | None = None,
        topology: parameters.Topology | None = None,
        **options: Unpack[Options],
    ) -> dict[str, Any]:
        """As `SegmentClient.coco`."""
        query = calls.query("coco", options, mask=mask, classes=classes, tolerance=tolerance, topology=topology)
        return await asyncio.to_thread(answers.document, await self._post(image, query))

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
            answers.not_a_page(await self._ask(calls.get("health/ready"), attempts(0, self.timeout, self._clock)))
        except (ServerBusy, ConnectionFailed):
            return False
        return True

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """As `SegmentClient.wait_until_ready`."""
        answers.not_a_page(await self._ask(calls.get("health/ready"), attempts(math.inf, timeout, self._clock, POLL_S)))

    async def _post(self, image: ImageLike, query: dict[str, Any]) -> httpx.Response:
        return await self._ask(await asyncio.to_thread(calls.post, image, query, self.timeout))

    async def _labels_of(self, response: httpx.Response) -> list[Label]:
        """The classes of the model that gave the JSON answer. Asks the service once for each model."""
        model = await asyncio.to_thread(answers.model_of, response)
        if model not in self._labels:
            self._labels[model] = await self.classes(model[0])
        return self._labels[model]

    async def _ask(self, call: Call, plan: Attempts | None = None) -> httpx.Response:
        plan = plan or attempts(self.retries, self.timeout, self._clock)
        try:
            step = next(plan)
            while True:
                if isinstance(step, Send):
                    step = plan.send(await self._send(call, step.seconds))
                else:
                    await self._sleep(step.seconds)
                    step = next(plan)
        except StopIteration as end:
            answer: httpx.Response = end.value
            return answer

    async def _send(self, call: Call, seconds: float) -> Outcome:
        try:
            timeout = calls.timeouts(seconds)
            client = self._connections.get(asyncio.get_running_loop())
            async with client.stream(call.method, call.path, params=call.query, files=call.files, timeout=timeout) as response:
                return await bodies.aread(response)
        except httpx.RequestError as error:
            return error
