"""The client that waits."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import calls
from fcn_client.calls import Call, Options
from fcn_client.errors import ConnectionFailed, SegmentError, ServerBusy
from fcn_client.images import ImageLike
from fcn_client.results import Label, Model, Segmentation
from fcn_client.retrying import Outcome, attempts

POLL_S = 0.2


class SegmentClient:
    """Asks a service; for several threads at once. Close it, or use it in a `with`.

    timeout: seconds for one call with its retries. retries: how often a busy or lost service is asked again. sleep, clock:
    for tests. Every method raises `SegmentError`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = calls.TIMEOUT_S,
        retries: int = calls.RETRIES,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        self._http = httpx.Client(
            base_url=calls.base(base_url), headers=calls.headers(api_key), timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def segment(self, image: ImageLike, *, confidence: bool = False, **options: Unpack[Options]) -> Segmentation:
        """The image's class map as an array, and what is said of it; with `confidence`, that of every pixel."""
        query = {"format": "json", "mask": "rle", "confidence": confidence or None}
        return Segmentation.of(self._ask(calls.post(image, **query, **options)))

    def segment_many(
        self, images: Iterable[ImageLike], *, concurrency: int = 4, confidence: bool = False, **options: Unpack[Options]
    ) -> Iterator[tuple[ImageLike, Segmentation | Exception]]:
        """Each image with its answer or its error, in order; the images are taken as they are needed."""
        waiting: deque[tuple[ImageLike, Future[Segmentation]]] = deque()
        with ThreadPoolExecutor(concurrency) as pool:
            for image in images:
                waiting.append((image, pool.submit(self.segment, image, confidence=confidence, **options)))
                if len(waiting) > concurrency:
                    yield _outcome(*waiting.popleft())
            while waiting:
                yield _outcome(*waiting.popleft())

    def raw(self, image: ImageLike, **query: Any) -> bytes:
        """The answer's bytes for any query of `/segment`, such as `format="npz"`."""
        return self._ask(calls.post(image, **query)).content

    def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """A palette PNG whose pixel values are class ids."""
        return self.raw(image, format="png", **options)

    def overlay(self, image: ImageLike, *, alpha: float = 0.5, **options: Unpack[Options]) -> Image.Image:
        """The photo with the class colours over it, RGB."""
        return Image.open(io.BytesIO(self.raw(image, format="overlay", alpha=alpha, **options)))

    def classes(self, model: str | None = None) -> list[Label]:
        return [Label(**entry) for entry in self._ask(calls.get("classes", model)).json()]

    def models(self) -> list[Model]:
        """The first is the default."""
        return [Model.of(entry) for entry in self._ask(calls.get("models")).json()]

    def info(self, model: str | None = None) -> dict[str, Any]:
        """The model, its scores, the device and the limits."""
        found: dict[str, Any] = self._ask(calls.get("info", model)).json()
        return found

    def ready(self) -> bool:
        """Whether it takes images now; asks once."""
        outcome = self._send(calls.get("health/ready"))
        return isinstance(outcome, httpx.Response) and outcome.is_success

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Raises `ConnectionFailed` or `ServerBusy` where it is not ready within so many seconds."""
        end = self._clock() + timeout
        while not self.ready():
            if self._clock() >= end:
                outcome = self._send(calls.get("health/ready"))
                kind = ServerBusy if isinstance(outcome, httpx.Response) else ConnectionFailed
                raise kind(f"the service is not ready after {timeout:g} s")
            self._sleep(POLL_S)

    def _ask(self, call: Call) -> httpx.Response:
        plan = attempts(self.retries, self.timeout, self._clock)
        wanted = next(plan)
        try:
            while True:
                if wanted is None:
                    wanted = plan.send(self._send(call))
                else:
                    self._sleep(wanted)
                    wanted = next(plan)
        except StopIteration as done:
            answer: httpx.Response = done.value
            return answer

    def _send(self, call: Call) -> Outcome:
        try:
            return self._http.request(call.method, call.path, params=call.query, files=call.files)
        except httpx.TransportError as error:
            return error


def _outcome(image: ImageLike, future: Future[Segmentation]) -> tuple[ImageLike, Segmentation | Exception]:
    try:
        return image, future.result()
    except (SegmentError, OSError, TypeError, ValueError) as error:
        return image, error
